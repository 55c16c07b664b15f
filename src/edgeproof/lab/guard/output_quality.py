"""Rules over all that one model detected in a set of images (reference section 4, "quality evidence")."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edgeproof.contract.comparison import GuardEvidence
from edgeproof.contract.guard import Detection, DetectionOutput
from edgeproof.lab.guard.item import item, limits, skipped
from edgeproof.lab.guard.single_output import is_collapsed, is_saturated


@dataclass(frozen=True)
class QualitySummary:
    """Counts and scores over a set of images; rates are shares of the detections."""

    images: int
    detections: int
    by_class: Mapping[int, int]
    invalid_bbox_rate: float
    bbox_collapse_ratio: float
    saturation_ratio: float
    scores_out_of_range: int
    scores: tuple[float, ...]


Rule = Callable[[QualitySummary], Iterator[GuardEvidence]]

LIMITS: Final[dict[str, tuple[float, float]]] = {
    "invalid_bbox_rate": (0.05, 0.20),
    "bbox_collapse_ratio": (0.05, 0.10),
    "saturation_ratio": (0.70, 0.85),
}
"""Warning and failure, each exceeded strictly."""


def summarise_outputs(outputs: Sequence[DetectionOutput]) -> QualitySummary:
    """Rates are 0 where nothing was detected."""
    found = [one for output in outputs for one in output.detections]
    total = max(len(found), 1)
    return QualitySummary(
        images=len(outputs),
        detections=len(found),
        by_class=dict(Counter(one.class_id for one in found)),
        invalid_bbox_rate=sum(map(_is_invalid, found)) / total,
        bbox_collapse_ratio=sum(map(is_collapsed, found)) / total,
        saturation_ratio=sum(map(is_saturated, found)) / total,
        scores_out_of_range=sum(not 0 <= one.confidence <= 1 for one in found),
        scores=tuple(one.confidence for one in found),
    )


def invalid_bbox_rate(summary: QualitySummary) -> Iterator[GuardEvidence]:
    """Boxes with a negative side or a value that is no number."""
    yield _rate(summary, "invalid_bbox_rate", "boxes are not finite or have a negative side")


def bbox_collapse_ratio(summary: QualitySummary) -> Iterator[GuardEvidence]:
    """Boxes without width or height."""
    yield _rate(summary, "bbox_collapse_ratio", "boxes have no width or no height")


def saturation_ratio(summary: QualitySummary) -> Iterator[GuardEvidence]:
    """Scores at the ends of their range."""
    yield _rate(summary, "saturation_ratio", "scores are at most 0.01 or at least 0.99")


def score_out_of_range(summary: QualitySummary) -> Iterator[GuardEvidence]:
    """A score is a probability; one outside 0 to 1 is fatal."""
    if summary.detections == 0:
        yield skipped("score_out_of_range", "scores_out_of_range", "nothing was detected")
        return
    bad = summary.scores_out_of_range
    yield item(
        "score_out_of_range",
        "scores_out_of_range",
        status="failed" if bad else "passed",
        severity="critical",
        observed=float(bad),
        threshold=0.0,
        explanation=f"{bad} of {summary.detections} scores lie outside 0 to 1",
        why="Whatever compares such a score with a threshold is wrong.",
        cause="The final activation was lost in conversion.",
        recommendation="Check that the exported model ends in its activation.",
    )


def _rate(summary: QualitySummary, name: str, words: str) -> GuardEvidence:
    if summary.detections == 0:
        return skipped(name, name, "nothing was detected")
    value: float = getattr(summary, name)
    warning, failed = LIMITS[name]
    status, severity = limits(value, warning=warning, failed=failed)
    return item(
        name,
        name,
        status=status,
        severity=severity,
        observed=value,
        threshold=failed if status == "failed" else warning,
        explanation=f"{100 * value:.4g} % of {summary.detections} {words}",
        why="Such an output cannot be used.",
        cause="The outputs lost range or scale in quantisation or conversion.",
        recommendation="Compare the raw outputs with the source model's.",
    )


def _is_invalid(one: Detection) -> bool:
    return None in one.bbox or any(side is not None and side < 0 for side in one.bbox[2:])


RULES: Final[tuple[Rule, ...]] = (
    invalid_bbox_rate,
    bbox_collapse_ratio,
    saturation_ratio,
    score_out_of_range,
)
