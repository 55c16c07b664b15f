"""Only what is surely stricter may stand in for an operator's policy."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import LatencyGate, Policy, Rule
from edgeproof.lab.decide import GRAVITY, fired
from edgeproof.lab.facts import FACTS, cases
from edgeproof.lab.policies import default_policy
from edgeproof.lab.tighten import check_tighter

KEPT = default_policy()


def margins(*told: tuple[str, float], kept: Policy = KEPT) -> Policy:
    gates = tuple(LatencyGate(metric=metric, margin_pct=margin) for metric, margin in told)
    return replace(kept, latency=replace(kept.latency, gates=gates))


def with_rule(index: int, **changes: object) -> Policy:
    rules = list(KEPT.rules)
    rules[index] = replace(rules[index], **changes)
    return replace(KEPT, rules=tuple(rules))


def added(**changes: object) -> Policy:
    given = {"id": "mine", "when": {}, "decision": "review_required", "effect": "e", "action": "a"}
    return replace(KEPT, rules=(*KEPT.rules, Rule(**{**given, **changes})))


@pytest.mark.parametrize(
    "asked",
    [
        KEPT,
        replace(KEPT, name="mine", version=7),
        replace(KEPT, min_isolation="namespaces"),
        margins(("p50", 1.0), ("p90", 5.0)),
        replace(KEPT, accuracy=replace(KEPT.accuracy, margin_pp=0.5)),
        replace(KEPT, agreement=replace(KEPT.agreement, min_top1=1.0)),
        replace(KEPT, guard=replace(KEPT.guard, accuracy_drop_pp_failed=2.0)),
        with_rule(1, decision="blocked"),
        with_rule(1, effect="other words"),
        added(),
        added(decision="unknown"),
        replace(KEPT, rules=KEPT.rules[::-1]),
    ],
)
def test_stricter_is_allowed(asked: Policy) -> None:
    check_tighter(KEPT, asked)


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        (margins(("p50", 3.5), ("p90", 5.0)), "$.latency.gates[0].margin_pct"),
        (margins(("p50", 3.0)), "$.latency.gates"),
        (margins(("p50", 3.0), ("p90", 5.0), ("p99", 5.0)), "$.latency.gates"),
        (margins(("p90", 5.0), ("p50", 3.0)), "$.latency.gates"),
        (replace(KEPT, latency=replace(KEPT.latency, confidence=0.9)), "$.latency.confidence"),
        (replace(KEPT, latency=replace(KEPT.latency, confidence=0.99)), "$.latency.confidence"),
        (replace(KEPT, latency=replace(KEPT.latency, looks=(8,))), "$.latency.looks"),
        (replace(KEPT, accuracy=replace(KEPT.accuracy, margin_pp=2.0)), "$.accuracy.margin_pp"),
        (replace(KEPT, accuracy=replace(KEPT.accuracy, confidence=0.9)), "$.accuracy.confidence"),
        (replace(KEPT, agreement=replace(KEPT.agreement, min_cosine=0.5)), "$.agreement.min_cosine"),
        (
            replace(KEPT, agreement=replace(KEPT.agreement, max_relative_error=0.3)),
            "$.agreement.max_relative_error",
        ),
        (replace(KEPT, guard=replace(KEPT.guard, disagreement_failed=0.9)), "$.guard.disagreement_failed"),
        (replace(KEPT, rules=KEPT.rules[1:]), "$.rules"),
        (with_rule(0, decision="review_required"), "$.rules[0].decision"),
        (with_rule(0, when={"guard": ("error",), "mode": ("same_precision",)}), "$.rules[0].when"),
        (with_rule(0, when={}), "$.rules[0].when"),
        (added(decision="deployable"), f"$.rules[{len(KEPT.rules)}].decision"),
        (added(decision="deployable_with_note"), f"$.rules[{len(KEPT.rules)}].decision"),
    ],
)
def test_milder_or_unclear_is_refused_with_its_place(asked: Policy, path: str) -> None:
    with pytest.raises(Refused) as caught:
        check_tighter(KEPT, asked)
    assert caught.value.code == "policy_not_allowed"
    assert path in [one.path for one in caught.value.errors]


def test_less_isolation_is_refused() -> None:
    with pytest.raises(Refused, match="min_isolation"):
        check_tighter(replace(KEPT, min_isolation="rlimit"), KEPT)


def test_the_margin_of_a_tail_must_stay() -> None:
    kept = margins(("p50", 3.0), ("p99", 5.0))
    check_tighter(kept, margins(("p50", 1.0), ("p99", 5.0), kept=kept))
    with pytest.raises(Refused, match="must stay 5"):
        check_tighter(kept, margins(("p50", 3.0), ("p99", 4.0), kept=kept))


def test_a_rule_that_is_harder_on_better_facts_is_refused() -> None:
    with pytest.raises(Refused, match="decided more mildly"):
        check_tighter(KEPT, added(when={"latency": ("improved",)}, decision="blocked"))


def test_a_floor_that_blocks_must_block_a_clear_regression_too() -> None:
    """A smaller margin can turn `too_tight` into `supported`, but only beside a regression."""
    rules = {rule.id: rule for rule in KEPT.rules}
    floor, slower = (
        replace(rules[name], decision="blocked")
        for name in ("noise_floor_review", "latency_regression_review")
    )
    with pytest.raises(Refused, match="decided more mildly"):
        check_tighter(KEPT, replace(KEPT, rules=tuple({**rules, floor.id: floor}.values())))
    both = {**rules, floor.id: floor, slower.id: slower}
    check_tighter(KEPT, replace(KEPT, rules=tuple(both.values())))


def test_all_is_told_at_once() -> None:
    asked = replace(margins(("p50", 9.0), ("p90", 9.0)), min_isolation="none", rules=KEPT.rules[1:])
    with pytest.raises(Refused, match="3 more") as caught:
        check_tighter(KEPT, asked)
    assert len(caught.value.errors) == 4


NAMES = list(FACTS)


@settings(max_examples=20, deadline=None)
@given(
    raised=st.lists(
        st.sampled_from(["blocked", "review_required", "unknown"]),
        min_size=len(KEPT.rules),
        max_size=len(KEPT.rules),
    ),
    facts=st.tuples(*(st.sampled_from(values) for values in FACTS.values())),
)
def test_whatever_is_allowed_is_never_milder(raised: list[str], facts: tuple[str, ...]) -> None:
    rules = tuple(replace(rule, decision=word) for rule, word in zip(KEPT.rules, raised, strict=True))
    asked = replace(KEPT, rules=rules)
    try:
        check_tighter(KEPT, asked)
    except Refused:
        return
    told = dict(zip(NAMES, facts, strict=True))
    before, after = (fired(policy.rules, told)[0].decision for policy in (KEPT, asked))
    assert GRAVITY.index(after) <= GRAVITY.index(before)


def test_there_are_few_enough_facts_to_try_them_all() -> None:
    assert sum(1 for _ in cases()) < 50_000
