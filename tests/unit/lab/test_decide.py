"""Which rules fire, and in which order they are told."""

from edgeproof.contract.policy import Decision, Rule
from edgeproof.lab.decide import NO_RULE, fired


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


def test_a_rule_without_conditions_always_fires() -> None:
    assert fired((rule("always", "blocked"),), {}) == (rule("always", "blocked"),)
