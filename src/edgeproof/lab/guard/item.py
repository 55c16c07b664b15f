"""One evidence item, made the same way by every rule: the differences are worked out here alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from edgeproof.contract.canonical import round6
from edgeproof.contract.comparison import GuardEvidence

Severity = Literal["low", "medium", "high", "critical"]
Status = Literal["passed", "warning", "failed", "skipped"]
Observed = float | str | None

SEVERITIES: Final[tuple[Severity, ...]] = ("low", "medium", "high", "critical")


def item(
    type_: str,
    metric: str,
    *,
    status: Status,
    severity: Severity,
    explanation: str,
    why: str,
    observed: Observed = None,
    baseline: Observed = None,
    threshold: float | None = None,
    cause: str = "",
    recommendation: str = "",
    context: Mapping[str, str] | None = None,
) -> GuardEvidence:
    """Floats to 6 significant digits. Cause and recommendation are kept for objections and notes alone."""
    delta = delta_pct = factor = None
    if isinstance(observed, float) and isinstance(baseline, float):
        delta = round6(observed - baseline)
        if baseline != 0:
            delta_pct = round6(100 * (observed - baseline) / abs(baseline))
            factor = round6(observed / baseline)
    objects = status in ("warning", "failed")
    return GuardEvidence(
        type=type_,
        metric_name=metric,
        observed_value=_kept(observed),
        baseline_value=_kept(baseline),
        threshold=threshold,
        delta=delta,
        delta_pct=delta_pct,
        increase_factor=factor,
        severity=severity if objects else "low",
        status=status,
        explanation=explanation,
        why_it_matters=why,
        suspected_causes=(cause,) if cause and objects else (),
        recommendation=recommendation if objects else "",
        raw_context=dict(context or {}),
    )


def skipped(type_: str, metric: str, why_not: str) -> GuardEvidence:
    """A rule that has nothing to judge says so."""
    return item(type_, metric, status="skipped", severity="low", explanation=f"not judged: {why_not}", why="")


def is_note(one: GuardEvidence) -> bool:
    """A warning of low severity is for information: it is shown, and changes no verdict."""
    return one.status == "warning" and one.severity == "low"


def graded(value: float, *, low: float | None = None, medium: float, high: float) -> tuple[Status, Severity]:
    """At or above ``high`` or ``medium`` it fails, at or above ``low`` it is a note, else it passes."""
    if value >= high:
        return "failed", "high"
    if value >= medium:
        return "failed", "medium"
    return ("warning", "low") if low is not None and value >= low else ("passed", "low")


def limits(value: float, *, warning: float, failed: float) -> tuple[Status, Severity]:
    """Strictly above ``failed`` it fails (high), strictly above ``warning`` it warns (medium)."""
    if value > failed:
        return "failed", "high"
    return ("warning", "medium") if value > warning else ("passed", "low")


def _kept(value: Observed) -> Observed:
    return round6(value) if isinstance(value, float) else value
