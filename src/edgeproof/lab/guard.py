"""The guard: runs its rules over a case and says how grave their evidence is, together.

It informs the decision and never owns it; a rule that crashes leaves the guard ``skipped`` and the job
completes (what that means is the policy's to say). Statuses and verdicts as reference section 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from edgeproof.contract.comparison import Comparison, GuardAnalysis, GuardEvidence, GuardStatus
from edgeproof.contract.policy import Policy
from edgeproof.contract.results import ForgeManifest, RuntimeResult
from edgeproof.contract.samples import RawQuality, SideQuality
from edgeproof.lab.guard_rules import RULES, GuardCase, Rule, SideCase

GuardVerdict = Literal["pass", "suspicious", "review_required", "blocked", "skipped"]

SEVERITIES: Final = ("low", "medium", "high", "critical")
STATUS_OF: Final[dict[GuardVerdict, GuardStatus]] = {
    "pass": "ok",
    "suspicious": "warning",
    "review_required": "warning",
    "blocked": "error",
    "skipped": "skipped",
}
CAUSES: Final[dict[str, str]] = {
    "provenance_mismatch": "Another artifact or configuration was measured than was built.",
    "non_finite_output": "Overflow or division by zero at the candidate's precision.",
    "accuracy_drop": "Quantisation or conversion changed what the model computes.",
    "output_disagreement": "Quantisation or conversion changed what the model computes.",
    "latency_regression": "Operators without a fast kernel at this precision, or a heavier model.",
}


def guard_case(
    manifests: tuple[ForgeManifest, ForgeManifest],
    results: tuple[RuntimeResult, RuntimeResult],
    quality: RawQuality,
    comparison: Comparison,
    policy: Policy,
) -> GuardCase:
    """The case of one measured pair; tuples are (baseline, candidate)."""
    outputs = (quality.baseline, quality.candidate)
    return GuardCase(
        sides={
            name: SideCase(manifest, result, side.nonfinite)
            for name, manifest, result, side in zip(
                ("baseline", "candidate"), manifests, results, outputs, strict=True
            )
        },
        comparison=comparison,
        disagreeing=_disagreeing(quality, outputs, policy.agreement.min_cosine),
        samples=quality.samples,
        thresholds=policy.guard,
    )


def analyse(case: GuardCase, rules: Sequence[Rule] = RULES) -> GuardAnalysis:
    """The guard's answer; ``skipped``, with the kind of error, if a rule crashes."""
    try:
        return conclude([item for rule in rules for item in rule(case)])
    except Exception as error:  # whatever a rule does wrong must not cost the job its decision
        return GuardAnalysis(
            status="skipped",
            guard_verdict="skipped",
            severity="low",
            primary_reason=f"The guard could not be evaluated: {type(error).__name__}.",
            evidence=(),
            suspected_causes=(),
            recommendations=(),
        )


def conclude(evidence: Sequence[GuardEvidence]) -> GuardAnalysis:
    """What the items come to together."""
    objections = sorted(
        (item for item in evidence if item.status in ("failed", "warning")),
        key=lambda item: (item.status != "failed", -SEVERITIES.index(item.severity)),
    )
    verdict = _verdict(objections)
    return GuardAnalysis(
        status=STATUS_OF[verdict],
        guard_verdict=verdict,
        severity=max((item.severity for item in objections), key=SEVERITIES.index, default="low"),
        primary_reason=objections[0].explanation if objections else "No rule of the guard objects.",
        evidence=tuple(evidence),
        suspected_causes=_distinct(CAUSES.get(item.type, "") for item in objections),
        recommendations=_distinct(item.recommendation for item in objections),
    )


def _verdict(objections: Sequence[GuardEvidence]) -> GuardVerdict:
    failed = {item.severity for item in objections if item.status == "failed"}
    if failed & {"high", "critical"}:
        return "blocked"
    if "medium" in failed:
        return "review_required"
    return "suspicious" if objections else "pass"


def _disagreeing(
    quality: RawQuality, outputs: tuple[SideQuality, SideQuality], min_cosine: float
) -> float | None:
    """Share of samples with another class, or, without classes, with a cosine below ``min_cosine``."""
    if quality.samples == 0:
        return None
    before, after = (side.predictions for side in outputs)
    if before is not None and after is not None:
        return sum(one != other for one, other in zip(before, after, strict=True)) / quality.samples
    return sum(cosine < min_cosine for cosine in quality.cosine) / quality.samples


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))
