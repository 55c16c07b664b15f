"""Which rules fire, and in which order they are told."""

import pytest

from edgeproof.contract.policy import Decision, Rule
from edgeproof.lab.decide import HELD, NO_RULE, fired
from edgeproof.lab.facts import FACTS


def rule(name: str, decision: Decision, **when: tuple[str, ...]) -> Rule:
    return Rule(id=name, when=when, decision=decision, effect="effect", action="action")


RULES = (
    rule("fast", "deployable", latency=("improved",)),
    rule("note", "deployable_with_note", latency=("improved", "no_regression")),
    rule("both", "review_required", latency=("improved",), guard=("warning",)),
    rule("also", "review_required", guard=("warning", "error")),
    rule("stop", "blocked", guard=("error",)),
)


def test_the_gravest_comes_first_then_the_policys_order() -> None:
    told = fired(RULES, {"latency": "improved", "guard": "warning"})
    assert [one.id for one in told] == ["both", "also", "note", "fast"]
    assert fired(RULES, {"latency": "improved", "guard": "error"})[0].id == "stop"


def test_every_fact_named_must_fit() -> None:
    assert [one.id for one in fired(RULES, {"latency": "no_regression", "guard": "warning"})] == [
        "also",
        "note",
    ]


def test_without_a_rule_the_decision_is_unknown() -> None:
    assert fired(RULES, {"latency": "regression", "guard": "ok"}) == (NO_RULE,)
    assert NO_RULE.decision == "unknown"


def test_what_no_policy_may_leave_out_comes_before_a_policy_that_would_deploy() -> None:
    unstable, tight = {"stability": "unstable"}, {"noise": "too_tight"}
    for decision in ("deployable", "deployable_with_note"):
        always = (rule("always", decision),)
        assert fired(always, {"stability": "stable", "noise": "supported"}) == always
        assert [one.id for one in fired(always, unstable)] == ["held_warmup_unstable_review", "always"]
        assert [one.id for one in fired(always, {**unstable, **tight})] == [
            "held_noise_floor_review",
            "held_warmup_unstable_review",
            "always",
        ]
        assert fired(always, tight)[0].decision == "review_required"


def test_a_policy_that_keeps_it_back_itself_says_how() -> None:
    for decision in ("blocked", "unknown", "review_required"):
        own = (rule("own", decision, noise=("too_tight",)), rule("note", "deployable_with_note"))
        assert fired(own, {"noise": "too_tight"})[0].id == "own"
        assert not any(one in HELD for one in fired(own, {"noise": "too_tight"}))
    assert all(set(values) <= set(FACTS[fact]) for one in HELD for fact, values in one.when.items())


@pytest.mark.parametrize("fact", ["shape", "system"])
def test_where_conditions_differ_latency_comes_last_of_equally_grave_rules(fact: str) -> None:
    rules = (
        rule("slow", "review_required", latency=("regression", "inconclusive")),
        rule("unlike", "review_required", **{fact: ("mismatch",)}),
        rule("stop", "blocked", latency=("regression",)),
    )
    for value in ("regression", "inconclusive"):
        alike = fired(rules, {"latency": value, fact: "match"})
        assert [one.id for one in alike if one.id != "stop"] == ["slow"]
        told = fired(rules, {"latency": value, fact: "mismatch"})
        assert [one.id for one in told if one.id != "stop"] == ["unlike", "slow"]
    assert fired(rules, {"latency": "regression", fact: "mismatch"})[0].id == "stop"


def test_a_rule_without_conditions_always_fires() -> None:
    assert fired((rule("always", "blocked"),), {}) == (rule("always", "blocked"),)
