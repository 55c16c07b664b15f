"""The deployment decision: facts in, the policy's rules over them, the gravest one decides.

The table of rules is the policy's; nothing here knows a rule by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from edgeproof.contract.comparison import Comparison, DeploymentDecision, GuardAnalysis, Reason
from edgeproof.contract.policy import Decision, Policy, Rule
from edgeproof.lab.facts import facts_of
from edgeproof.lab.reasons import details

GRAVITY: Final[tuple[Decision, ...]] = (
    "blocked",
    "review_required",
    "unknown",
    "deployable_with_note",
    "deployable",
)
"""Gravest first."""

NO_RULE: Final = Rule(
    id="no_rule_unknown",
    when={},
    decision="unknown",
    effect="No rule of the policy fits these facts.",
    action="Add a rule for this case to the policy.",
)


def fired(rules: Sequence[Rule], facts: Mapping[str, str]) -> tuple[Rule, ...]:
    """The rules that fire, gravest first, then in the policy's order; ``NO_RULE`` alone if none does."""
    found = [rule for rule in rules if all(facts.get(name) in values for name, values in rule.when.items())]
    return tuple(sorted(found, key=lambda rule: GRAVITY.index(rule.decision))) or (NO_RULE,)


def decide(
    comparison: Comparison,
    guard: GuardAnalysis | None,
    measurement: str,
    policy: Policy,
    policy_digest: str,
    basis: Literal["signed", "unsigned"],
) -> DeploymentDecision:
    """``guard`` None: it was not asked. ``measurement``: measured, estimated or simulated."""
    facts = facts_of(comparison, guard.status if guard else None, measurement)
    rules = fired(policy.rules, facts)
    reasons = tuple(
        Reason(
            rule=rule.id,
            decision=rule.decision,
            effect=rule.effect,
            facts={name: facts[name] for name in rule.when},
            details=details(rule.when or facts, comparison, guard),
        )
        for rule in rules
    )
    return DeploymentDecision(
        decision=rules[0].decision,
        reason=" ".join((rules[0].effect, *(f"{one}." for one in reasons[0].details))),
        lab_overall=comparison.overall,
        guard_status=guard.status if guard else None,
        guard_verdict=guard.guard_verdict if guard else None,
        recommended_action=rules[0].action,
        policy_version=f"{policy.name}-v{policy.version}",
        policy_digest=policy_digest,
        triggered_rules=tuple(rule.id for rule in rules),
        reasons=reasons,
        basis=basis,
    )
