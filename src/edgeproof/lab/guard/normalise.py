"""Both generations of guard answers to ours, and ours to both. The status wins over the verdict.

pass = ok; suspicious and review_required = warning; blocked = error; skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from edgeproof.contract.comparison import GuardAnalysis, GuardEvidence, GuardStatus
from edgeproof.contract.guard import (
    DIAGNOSIS_V1,
    Diagnosis,
    DiagnosisEvidence,
    LegacyAnomaly,
    LegacyGuardAnalysis,
)
from edgeproof.lab.guard.item import SEVERITIES, Severity
from edgeproof.lab.guard.verdict import STATUS_OF, GuardVerdict

CONFIDENCE: Final[dict[GuardStatus, float]] = {"error": 0.9, "warning": 0.7, "ok": 0.5, "skipped": 0.0}
VERDICT_OF: Final[dict[GuardStatus, GuardVerdict]] = {
    "ok": "pass",
    "warning": "review_required",
    "error": "blocked",
    "skipped": "skipped",
}


def verdict_for(status: GuardStatus, severity: Severity = "low") -> GuardVerdict:
    """A warning is for review if something of it is more than low."""
    if status == "warning":
        return "suspicious" if severity == "low" else "review_required"
    return VERDICT_OF[status]


def normalised(told: LegacyGuardAnalysis | Diagnosis) -> GuardAnalysis:
    """What another guard said, as ours says it."""
    return _of_legacy(told) if isinstance(told, LegacyGuardAnalysis) else _of_diagnosis(told)


def to_legacy(told: GuardAnalysis) -> LegacyGuardAnalysis:
    """Only objections are anomalies: there, every anomaly counts as a warning at least."""
    return LegacyGuardAnalysis(
        status=told.status,
        guard_verdict=told.guard_verdict,
        mode="compare",
        anomalies=tuple(
            LegacyAnomaly(
                type=one.type,
                severity=one.severity,
                message=one.explanation,
                evidence={
                    "metric_name": one.metric_name,
                    "observed_value": one.observed_value,
                    "baseline_value": one.baseline_value,
                    "threshold": one.threshold,
                    **one.raw_context,
                },
            )
            for one in told.evidence
            if one.status == "failed" or (one.status == "warning" and told.status != "ok")
        ),
        explanations=(told.primary_reason,),
        suspected_causes=told.suspected_causes,
        recommendations=told.recommendations,
        confidence=CONFIDENCE[told.status],
    )


def to_diagnosis(told: GuardAnalysis, *, source: str, created_at: str) -> Diagnosis:
    """``created_at`` is the caller's: a guard reads no clock."""
    return Diagnosis(
        schema_version=DIAGNOSIS_V1,
        source=source,
        status=told.status,
        guard_verdict=told.guard_verdict,
        severity=told.severity,
        confidence=CONFIDENCE[told.status],
        primary_reason=told.primary_reason,
        evidence=tuple(
            DiagnosisEvidence(**{name: getattr(one, name) for name in DiagnosisEvidence.__struct_fields__})
            for one in told.evidence
        ),
        suspected_causes=told.suspected_causes,
        recommendations=told.recommendations,
        thresholds={one.type: one.threshold for one in told.evidence if one.threshold is not None},
        baseline_summary={one.metric_name: one.baseline_value for one in told.evidence
                          if one.baseline_value is not None},
        candidate_summary={one.metric_name: one.observed_value for one in told.evidence
                           if one.observed_value is not None},
        created_at=created_at,
    )  # fmt: skip


def _of_legacy(told: LegacyGuardAnalysis) -> GuardAnalysis:
    severity: Severity = max((one.severity for one in told.anomalies), key=SEVERITIES.index, default="low")
    said = told.guard_verdict
    agrees = said is not None and STATUS_OF[said] == told.status
    return GuardAnalysis(
        status=told.status,
        guard_verdict=said if said is not None and agrees else verdict_for(told.status, severity),
        severity=severity,
        primary_reason=_first([one.message for one in told.anomalies], told.explanations, told.status),
        evidence=tuple(
            GuardEvidence(
                type=one.type,
                metric_name=one.type,
                observed_value=None,
                baseline_value=None,
                threshold=None,
                delta=None,
                delta_pct=None,
                increase_factor=None,
                severity=one.severity,
                status="warning" if one.severity == "low" else "failed",
                explanation=one.message,
                why_it_matters="",
                suspected_causes=(),
                recommendation="",
                raw_context=_context(one.evidence),
            )
            for one in told.anomalies
        ),
        suspected_causes=told.suspected_causes,
        recommendations=told.recommendations,
    )


def _of_diagnosis(told: Diagnosis) -> GuardAnalysis:
    status = told.status or STATUS_OF[told.guard_verdict]
    agrees = STATUS_OF[told.guard_verdict] == status
    return GuardAnalysis(
        status=status,
        guard_verdict=told.guard_verdict if agrees else verdict_for(status, told.severity),
        severity=told.severity,
        primary_reason=told.primary_reason,
        evidence=tuple(_evidence(one) for one in told.evidence),
        suspected_causes=told.suspected_causes,
        recommendations=told.recommendations,
    )


def _evidence(one: DiagnosisEvidence) -> GuardEvidence:
    kept = {name: getattr(one, name) for name in GuardEvidence.__struct_fields__}
    kept["raw_context"] = _context(one.raw_context)
    if isinstance(one.threshold, str):  # a threshold in words is context, not a number
        kept["threshold"] = None
        kept["raw_context"]["threshold"] = one.threshold
    return GuardEvidence(**kept)


def _context(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    inside = value if isinstance(value, Mapping) else {"evidence": value}
    return {
        str(name): one if isinstance(one, str) else msgspec.json.encode(one).decode()
        for name, one in inside.items()
    }


def _first(messages: list[str], explanations: tuple[str, ...], status: str) -> str:
    return next(iter([*messages, *explanations]), f"The guard says {status}.")
