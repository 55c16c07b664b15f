"""What is valid and does less than it seems."""

import pytest
from msgspec.structs import replace

from edgeproof.contract.policy import Decision, LatencyGate, LatencyMetric, Policy, Rule
from edgeproof.lab.decide import DEPLOYS, HELD, fired
from edgeproof.lab.facts import FACTS, cases
from edgeproof.lab.policies import check_policy, default_policy
from edgeproof.lab.policies.cautions import DOUBTFUL, cautions

DEFAULT = default_policy()


def paths(policy: Policy) -> list[str]:
    check_policy(policy)
    return [one.path for one in cautions(policy)]


def gated(metric: LatencyMetric, *looks: int) -> Policy:
    gates = (*DEFAULT.latency.gates[:1], LatencyGate(metric=metric, margin_pct=5.0))
    return replace(DEFAULT, latency=replace(DEFAULT.latency, gates=gates, looks=looks))


def without(*ids: str, added: tuple[Rule, ...] = ()) -> Policy:
    rules = tuple(rule for rule in DEFAULT.rules if rule.id not in ids)
    assert len(rules) == len(DEFAULT.rules) - len(ids)
    return replace(DEFAULT, rules=(*rules, *added))


def rule(decision: Decision, **when: tuple[str, ...]) -> Rule:
    return Rule(id="own", when=when, decision=decision, effect="effect", action="action")


def test_the_default_policy_gives_no_cause() -> None:
    assert paths(DEFAULT) == []


@pytest.mark.parametrize(
    ("metric", "looks", "warned"),
    [
        ("p99", (8, 12, 16), True),
        ("p99", (16, 32, 64), True),  # 640 blocks at most, 662 needed
        ("p95", (8, 12), True),  # 120 of 130
        ("p95", (8, 13), False),
        ("p90", (8, 12), False),
        ("mean", (8, 12), False),
    ],
)
def test_a_gate_out_of_reach(metric: LatencyMetric, looks: tuple[int, ...], warned: bool) -> None:
    assert paths(gated(metric, *looks)) == ["$.latency.gates[1]"] * warned


@pytest.mark.parametrize("left_out", ["warmup_unstable_review", "noise_floor_review"])
def test_a_rule_that_is_left_out(left_out: str) -> None:
    (told,) = cautions(without(left_out))
    fact = {"warmup_unstable_review": "stability", "noise_floor_review": "noise"}[left_out]
    assert told.path == "$.rules" and f"where {fact} is" in told.message and "held_" in told.message


def test_a_rule_for_some_cases_or_a_mild_one_is_as_good_as_none() -> None:
    sometimes = rule("blocked", noise=("too_tight",), latency=("inconclusive",))
    mild = rule("deployable_with_note", noise=("too_tight",))
    for own in (sometimes, mild):
        assert paths(without("noise_floor_review", added=(own,))) == ["$.rules"]
    for enough in (rule("unknown", noise=("supported", "too_tight")), rule("blocked")):
        assert paths(without("noise_floor_review", added=(enough,))) == []


def deployed(policy: Policy) -> list[str]:
    """The cases that the warnings say are deployed."""
    said = [one.message for one in cautions(policy)]
    return [
        one.split(" are deployed")[0].removeprefix("cases where ") for one in said if "deployed, as" in one
    ]


def test_a_policy_that_asks_nobody_but_the_guard() -> None:
    policy = replace(DEFAULT, rules=(rule("deployable", guard=("ok",)),))
    assert deployed(policy) == [
        "latency is regression or inconclusive",
        "accuracy is regression or inconclusive",
        "shape is mismatch",
        "measurement is estimated or simulated",
    ]
    assert len(paths(policy)) == 4 + len(HELD)


@pytest.mark.parametrize(
    ("left_out", "by", "found"),
    [
        ("latency_regression_review", "accuracy_unmeasured_note", ["latency is regression"]),
        ("accuracy_inconclusive_review", "", []),  # the favourable rules ask for another `overall`
        ("shape_mismatch_review", "accuracy_unmeasured_note", ["shape is mismatch"]),
        (
            "not_measured_review",
            "guard_ok_lab_favorable_deployable",
            ["measurement is estimated or simulated"],
        ),
    ],
)
def test_a_rule_of_the_default_policy_that_is_left_out(left_out: str, by: str, found: list[str]) -> None:
    assert deployed(without(left_out)) == found
    assert all(f"as by {by}:" in one.message for one in cautions(without(left_out)))


def named(name: str, decision: Decision, **when: tuple[str, ...]) -> Rule:
    return replace(rule(decision, **when), id=name)


def test_what_several_rules_keep_back_together_is_kept_back() -> None:
    slow = ("regression", "inconclusive")
    rules = (
        named("always", "deployable_with_note"),
        named("accuracy", "blocked", accuracy=slow),
        named("shape", "blocked", shape=("mismatch",)),
        named("numbers", "blocked", measurement=("estimated", "simulated")),
        named("same", "unknown", latency=slow, mode=("same_precision",)),
    )
    cross = named("cross", "unknown", latency=slow, mode=("cross_precision",))
    assert deployed(replace(DEFAULT, rules=rules)) == ["latency is regression or inconclusive"]
    assert deployed(replace(DEFAULT, rules=(*rules, cross))) == []


def test_what_cannot_be_is_not_warned_of() -> None:
    """Accuracy is never measured where the outputs are no classes."""
    left_out = ("accuracy_regression_review", "accuracy_inconclusive_review")
    note, lost = rule("deployable_with_note"), ("regression", "inconclusive")
    kept = named("kept", "blocked", accuracy=lost, outputs=("classes",))
    assert deployed(without(*left_out, added=(note,))) == ["accuracy is regression or inconclusive"]
    assert deployed(without(*left_out, added=(note, kept))) == []


@pytest.mark.parametrize("left_out", ["accuracy_regression_review", "shape_mismatch_review"])
def test_the_warnings_tell_what_the_decision_does(left_out: str) -> None:
    """Of a policy that is short of one rule and deploys whatever no other keeps back."""
    policy = without(left_out, added=(rule("deployable_with_note"),))
    quiet = {**FACTS, "guard": ("ok",), "stability": ("stable",), "noise": ("supported",)}
    reached = {
        (fact, facts[fact])
        for facts in cases(quiet)
        if fired(policy.rules, facts)[0].decision in DEPLOYS
        for fact in DOUBTFUL
    }
    told = {fact: [one for one in DOUBTFUL[fact] if (fact, one) in reached] for fact in DOUBTFUL}
    assert deployed(policy) == [f"{fact} is {' or '.join(told[fact])}" for fact in told if told[fact]]
    assert deployed(policy)


def test_no_policy_deploys_what_never_settled_or_is_below_the_floor() -> None:
    for always in ((rule("deployable"),), (rule("deployable_with_note", stability=("unstable",)),)):
        for one in cases():
            if one["stability"] == "unstable" or one["noise"] == "too_tight":
                assert fired(always, one)[0].decision not in DEPLOYS
            elif always[0].when == {}:
                assert fired(always, one) == always


def test_the_held_rules_ask_about_facts_that_exist() -> None:
    check_policy(replace(DEFAULT, rules=HELD))
