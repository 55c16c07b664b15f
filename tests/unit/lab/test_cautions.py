"""What is valid and does less than it seems."""

import pytest
from msgspec.structs import replace

from edgeproof.contract.policy import Decision, LatencyGate, LatencyMetric, Policy, Rule
from edgeproof.lab.decide import DEPLOYS, HELD, fired
from edgeproof.lab.facts import cases
from edgeproof.lab.policies import check_policy, default_policy
from edgeproof.lab.policies.cautions import cautions

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


def test_no_policy_deploys_what_never_settled_or_is_below_the_floor() -> None:
    for always in ((rule("deployable"),), (rule("deployable_with_note", stability=("unstable",)),)):
        for one in cases():
            if one["stability"] == "unstable" or one["noise"] == "too_tight":
                assert fired(always, one)[0].decision not in DEPLOYS
            elif always[0].when == {}:
                assert fired(always, one) == always


def test_the_held_rules_ask_about_facts_that_exist() -> None:
    check_policy(replace(DEFAULT, rules=HELD))
