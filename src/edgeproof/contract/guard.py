"""What a guard is told and tells, unsigned: detections and frames in, both generations of answers.

Legacy ``guard_analysis`` and ``inferedge-aiguard-diagnosis-v1`` are input types here: what a signed
decision carries is ``contract.comparison.GuardAnalysis``. Field lists: reference section 4.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from edgeproof.contract.base import Wire
from edgeproof.contract.comparison import GuardStatus
from edgeproof.contract.errors import Refused
from edgeproof.contract.ids import Name, Text
from edgeproof.contract.unsigned import read_unsigned

DIAGNOSIS_V1: Final = "inferedge-aiguard-diagnosis-v1"

Severity = Literal["low", "medium", "high", "critical"]
EvidenceStatus = Literal["passed", "warning", "failed", "skipped"]
Verdict = Literal["pass", "suspicious", "review_required", "blocked", "skipped"]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Texts = Annotated[tuple[Text, ...], Meta(max_length=200)]


class LegacyAnomaly(Wire, frozen=True, kw_only=True):
    type: Name
    severity: Severity
    message: Text
    evidence: Any = None


class LegacyGuardAnalysis(Wire, frozen=True, kw_only=True):
    """The first generation. ``guard_verdict`` is no field of it, but some send both; ``status`` wins."""

    status: GuardStatus
    guard_verdict: Verdict | None = None
    mode: Name | None = None
    anomalies: Annotated[tuple[LegacyAnomaly, ...], Meta(max_length=1000)] = ()
    explanations: Texts = ()
    suspected_causes: Texts = ()
    recommendations: Texts = ()
    confidence: Fraction | None = None


class DiagnosisEvidence(Wire, frozen=True, kw_only=True):
    """One item of a diagnosis; every field is required, null where there is no number."""

    type: Name
    metric_name: Name
    observed_value: float | str | None
    baseline_value: float | str | None
    threshold: float | str | None
    delta: float | None
    delta_pct: float | None
    increase_factor: float | None
    severity: Severity
    status: EvidenceStatus
    explanation: Text
    why_it_matters: Text
    suspected_causes: Texts
    recommendation: Text
    raw_context: dict[str, Any]


class Diagnosis(Wire, frozen=True, kw_only=True):
    """``inferedge-aiguard-diagnosis-v1``. ``status``, where given beside the verdict, wins."""

    schema_version: Literal["inferedge-aiguard-diagnosis-v1"]
    source: Text
    guard_verdict: Verdict
    severity: Severity
    confidence: Fraction
    primary_reason: Text
    evidence: Annotated[tuple[DiagnosisEvidence, ...], Meta(max_length=1000)]
    suspected_causes: Texts
    recommendations: Texts
    thresholds: dict[str, Any]
    baseline_summary: dict[str, Any] | None
    candidate_summary: dict[str, Any] | None
    created_at: Text
    status: GuardStatus | None = None


def read_guard_analysis(value: Any) -> LegacyGuardAnalysis | Diagnosis:
    """Either generation, told apart by ``schema_version``. Raises ``Refused`` (``invalid_request``)."""
    version = value.get("schema_version") if isinstance(value, dict) else None
    if version == DIAGNOSIS_V1:
        return read_unsigned(value, Diagnosis, what="guard_analysis")
    if version is not None:
        raise Refused("invalid_request", f"guard_analysis: there is no schema_version {version!r}")
    return read_unsigned(value, LegacyGuardAnalysis, what="guard_analysis")


# --- what a guard looks at -----------------------------------------------------------------------


class Detection(Wire, frozen=True, kw_only=True):
    """``bbox`` is x, y, width, height; null stands for a value that was NaN or infinite.

    ``confidence`` should be 0 to 1; whether it is, is the guard's to judge.
    """

    class_id: Annotated[int, Meta(ge=0)]
    confidence: float
    bbox: tuple[float | None, float | None, float | None, float | None]


class DetectionOutput(Wire, frozen=True, kw_only=True):
    """What one model found in one image."""

    model: Name
    precision: Name
    image_id: Name
    detections: Annotated[tuple[Detection, ...], Meta(max_length=100_000)]


class FrameSequence(Wire, frozen=True, kw_only=True):
    """Detections in consecutive frames; without ``width`` and ``height`` (pixels) jumps have no scale."""

    model: Name
    frames: Annotated[tuple[tuple[Detection, ...], ...], Meta(max_length=1_000_000)]
    width: Annotated[float, Meta(gt=0)] | None = None
    height: Annotated[float, Meta(gt=0)] | None = None


Detections = tuple[DetectionOutput, ...] | FrameSequence


def read_detections(value: Any, *, what: str) -> Detections:
    """What one model found: in one image, in a list of images, or (where there are ``frames``) in a film.

    Raises ``Refused`` (``invalid_request``), also if an image comes twice or a list is of several models.
    """
    if isinstance(value, dict) and "frames" in value:
        return read_unsigned(value, FrameSequence, what=what)
    if isinstance(value, dict):
        return (read_unsigned(value, DetectionOutput, what=what),)
    outputs = read_unsigned(value, tuple[DetectionOutput, ...], what=what)
    if not outputs:
        raise Refused("invalid_request", f"{what}: there is no image in it")
    seen: set[str] = set()
    for one in outputs:
        if one.image_id in seen:
            raise Refused("invalid_request", f"{what}: image {one.image_id!r} comes twice")
        seen.add(one.image_id)
    if len({(one.model, one.precision) for one in outputs}) > 1:
        raise Refused("invalid_request", f"{what}: images of several models or precisions")
    return outputs
