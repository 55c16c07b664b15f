"""The deployment decision: facts in, the policy's rules over them, the gravest one decides.

The table of rules is the policy's; nothing here knows one of its rules by name. Two rules are nobody's to
leave out (``HELD``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from edgeproof.contract.comparison import Comparison, DeploymentDecision, GuardAnalysis, Reason
from edgeproof.contract.policy import Decision, Policy, Rule
from edgeproof.lab.facts import Inputs, facts_of
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

DEPLOYS: Final[frozenset[Decision]] = frozenset({"deployable", "deployable_with_note"})
HELD: Final = (
    Rule(
        id="held_noise_floor_review",
        when={"noise": ("too_tight",)},
        decision="review_required",
        effect="The device is noisier than the policy's margin, and no policy can do without that.",
        action="Analyse again on a quieter device, or under a policy with a wider margin.",
    ),
    Rule(
        id="held_warmup_unstable_review",
        when={"stability": ("unstable",)},
        decision="review_required",
        effect="At least one process pair never came to rest, and no policy can average that away.",
        action="Analyse again on a quieter device, or with more warm-up calls.",
    ),
)
"""They fire where the policy's own rules would deploy in spite of the fact."""


def fired(rules: Sequence[Rule], facts: Mapping[str, str]) -> tuple[Rule, ...]:
    """The rules that fire, gravest first, then in the policy's order; ``NO_RULE`` alone if none does.

    Where shapes or conditions differ, what latency says comes last of equally grave rules: the difference may
    be why. Rules of ``HELD`` come before those of a policy that would deploy.
    """
    found = _firing(rules, facts)
    unlike = "mismatch" in (facts.get("shape"), facts.get("system"))
    told = tuple(
        sorted(found, key=lambda rule: (GRAVITY.index(rule.decision), unlike and "latency" in rule.when))
    ) or (NO_RULE,)
    return (*_firing(HELD, facts), *told) if told[0].decision in DEPLOYS else told


def _firing(rules: Sequence[Rule], facts: Mapping[str, str]) -> list[Rule]:
    return [rule for rule in rules if all(facts.get(name) in values for name, values in rule.when.items())]


def decide(
    comparison: Comparison,
    guard: GuardAnalysis | None,
    measurement: str,
    inputs: Inputs,
    policy: Policy,
    policy_digest: str,
    basis: Literal["signed", "unsigned"],
) -> DeploymentDecision:
    """``guard`` None: it was not asked. ``measurement``: measured, estimated or simulated.
    ``inputs``: what both sides were fed.
    """
    facts = facts_of(comparison, guard.status if guard else None, measurement, inputs)
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
