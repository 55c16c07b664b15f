"""Rules over what one model found in one image (reference section 4, "single output")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from edgeproof.contract.comparison import GuardEvidence
from edgeproof.contract.guard import Detection, DetectionOutput
from edgeproof.lab.guard.item import graded, item, skipped

COLLAPSED: Final = 1e-6
SATURATED: Final = (0.01, 0.99)


@dataclass(frozen=True)
class OutputCase:
    """``baseline`` is what the baseline found in the same image, where that is known."""

    output: DetectionOutput
    baseline: DetectionOutput | None = None


Rule = Callable[[OutputCase], Iterator[GuardEvidence]]


def is_collapsed(one: Detection) -> bool:
    """Whether a box has no width or no height."""
    return any(side is not None and abs(side) <= COLLAPSED for side in one.bbox[2:])


def is_saturated(one: Detection) -> bool:
    """Whether a score lies at either end of its range."""
    return one.confidence <= SATURATED[0] or one.confidence >= SATURATED[1]


def bbox_collapse(case: OutputCase) -> Iterator[GuardEvidence]:
    """Boxes without width or height."""
    found = case.output.detections
    if not found:
        yield skipped("bbox_collapse", "collapsed_boxes", "nothing was detected")
        return
    share = sum(map(is_collapsed, found)) / len(found)
    status, severity = graded(share, low=1e-12, medium=0.1, high=0.5)
    yield item(
        "bbox_collapse",
        "collapsed_boxes",
        status=status,
        severity=severity,
        observed=share,
        threshold=0.1,
        explanation=f"{100 * share:.4g} % of {len(found)} boxes have no width or no height",
        why="A box without an area locates nothing.",
        cause="The box outputs lost their scale in quantisation.",
        recommendation="Check the scales of the box outputs, or keep them at a higher precision.",
    )


def confidence_saturation(case: OutputCase) -> Iterator[GuardEvidence]:
    """Scores that are nearly all at the ends of their range."""
    found = case.output.detections
    if not found:
        yield skipped("confidence_saturation", "saturated_scores", "nothing was detected")
        return
    share = sum(map(is_saturated, found)) / len(found)
    status, severity = graded(share, medium=0.8, high=0.95)
    yield item(
        "confidence_saturation",
        "saturated_scores",
        status=status,
        severity=severity,
        observed=share,
        threshold=0.8,
        explanation=f"{100 * share:.4g} % of {len(found)} scores are at most 0.01 or at least 0.99",
        why="A score that is always extreme ranks nothing.",
        cause="The score outputs were clipped by a poor calibration.",
        recommendation="Calibrate on data like those of the deployment.",
    )


def detection_count_mismatch(case: OutputCase) -> Iterator[GuardEvidence]:
    """Far more or far fewer detections than the baseline's."""
    if case.baseline is None:
        yield skipped("detection_count_mismatch", "detections", "there is no baseline output")
        return
    now, before = len(case.output.detections), len(case.baseline.detections)
    share = abs(now - before) / max(before, 1)
    status, severity = graded(share, medium=0.5, high=0.8)
    yield item(
        "detection_count_mismatch",
        "detections",
        status=status,
        severity=severity,
        observed=float(now),
        baseline=float(before),
        threshold=0.5,
        explanation=f"{now} detections in {case.output.image_id} against the baseline's {before}",
        why="The same image holds the same objects.",
        cause="Scores moved across the detector's threshold.",
        recommendation="Compare the scores of both models on this image.",
    )


RULES: Final[tuple[Rule, ...]] = (bbox_collapse, confidence_saturation, detection_count_mismatch)
