"""What evidence items come to together: a verdict, its status, the gravest reason.

A warning of low severity is a note and objects to nothing: otherwise every explanation of a good result
would send it to review.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

from edgeproof.contract.comparison import GuardAnalysis, GuardEvidence, GuardStatus
from edgeproof.lab.guard.item import SEVERITIES, is_note

GuardVerdict = Literal["pass", "suspicious", "review_required", "blocked", "skipped"]

STATUS_OF: Final[dict[GuardVerdict, GuardStatus]] = {
    "pass": "ok",
    "suspicious": "warning",
    "review_required": "warning",
    "blocked": "error",
    "skipped": "skipped",
}


def conclude(evidence: Sequence[GuardEvidence], *, temporal: bool = False) -> GuardAnalysis:
    """``temporal``: over frames any failure blocks and any warning is for review (reference section 4)."""
    objections = sorted(
        (one for one in evidence if one.status in ("failed", "warning") and not is_note(one)),
        key=lambda one: (one.status != "failed", -SEVERITIES.index(one.severity)),
    )
    verdict = _temporal(objections) if temporal else _verdict(objections)
    return GuardAnalysis(
        status=STATUS_OF[verdict],
        guard_verdict=verdict,
        severity=max((one.severity for one in objections), key=SEVERITIES.index, default="low"),
        primary_reason=objections[0].explanation if objections else "No rule of the guard objects.",
        evidence=tuple(evidence),
        suspected_causes=_distinct(cause for one in objections for cause in one.suspected_causes),
        recommendations=_distinct(one.recommendation for one in objections),
    )


def not_evaluated(why: str) -> GuardAnalysis:
    """The guard's answer where it has none; what that means is the policy's to say."""
    return GuardAnalysis(
        status="skipped",
        guard_verdict="skipped",
        severity="low",
        primary_reason=f"The guard could not be evaluated: {why}.",
        evidence=(),
        suspected_causes=(),
        recommendations=(),
    )


def guarded(answer: Callable[[], GuardAnalysis]) -> GuardAnalysis:
    """The guard's answer; ``skipped``, with the kind of error, if making it crashes.

    Whatever feeds the rules belongs inside ``answer``, too.
    """
    try:
        return answer()
    except Exception as error:  # whatever the guard does wrong must not cost the job its decision
        return not_evaluated(type(error).__name__)


def _verdict(objections: Sequence[GuardEvidence]) -> GuardVerdict:
    failed = {one.severity for one in objections if one.status == "failed"}
    if failed & {"high", "critical"}:
        return "blocked"
    if "medium" in failed:
        return "review_required"
    return "suspicious" if objections else "pass"


def _temporal(objections: Sequence[GuardEvidence]) -> GuardVerdict:
    if any(one.status == "failed" for one in objections):
        return "blocked"
    return "review_required" if objections else "pass"


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))
