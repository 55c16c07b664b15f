"""Rules over detections in consecutive frames (reference section 4, "temporal").

Judged together by ``conclude(..., temporal=True)``: any failure blocks, any warning is for review.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import groupby, pairwise
from typing import Final

from edgeproof.contract.comparison import GuardEvidence
from edgeproof.contract.guard import Detection, FrameSequence
from edgeproof.domain.measurement import percentile
from edgeproof.lab.guard.item import Severity, Status, item, skipped

Rule = Callable[[FrameSequence], Iterator[GuardEvidence]]


def detection_count_variation(sequence: FrameSequence) -> Iterator[GuardEvidence]:
    """The coefficient of variation of the number of detections per frame."""
    counts = [len(frame) for frame in sequence.frames]
    if len(counts) < 2 or not any(counts):
        yield skipped("detection_count_variation", "detections_cv", "too few frames with detections")
        return
    mean = sum(counts) / len(counts)
    value = math.sqrt(sum((count - mean) ** 2 for count in counts) / len(counts)) / mean
    yield _warn(
        "detection_count_variation",
        "detections_cv",
        value,
        1.0,
        f"the detections per frame vary by {value:.4g}",
    )


def centre_jump(sequence: FrameSequence) -> Iterator[GuardEvidence]:
    """The p95 jump of the surest detection's centre, as a share of the image's diagonal and of nothing else.

    Without the image's size a jump has no scale, and is not judged.
    """
    if sequence.width is None or sequence.height is None:
        yield skipped("centre_jump", "centre_jump_p95", "the size of the frames is not known")
        return
    centres = [_centre(top) for frame in sequence.frames if (top := _top(frame))]
    jumps = sorted(math.dist(one, other) for one, other in pairwise(c for c in centres if c))
    if not jumps:
        yield skipped("centre_jump", "centre_jump_p95", "too few frames with detections")
        return
    value = percentile(jumps, 0.95) / math.hypot(sequence.width, sequence.height)
    yield _warn(
        "centre_jump", "centre_jump_p95", value, 0.50, f"centres jump by {100 * value:.4g} % of the diagonal"
    )


def class_flip(sequence: FrameSequence) -> Iterator[GuardEvidence]:
    """How often the surest detection's class changes from frame to frame."""
    classes = [top.class_id for frame in sequence.frames if (top := _top(frame))]
    steps = list(pairwise(classes))
    if not steps:
        yield skipped("class_flip", "class_flip_ratio", "too few frames with detections")
        return
    value = sum(one != other for one, other in steps) / len(steps)
    yield _warn("class_flip", "class_flip_ratio", value, 0.30, f"the class changes in {100 * value:.4g} %")


def zero_frames(sequence: FrameSequence) -> Iterator[GuardEvidence]:
    """The share of frames in which nothing was detected."""
    if not sequence.frames:
        yield skipped("zero_frames", "zero_frame_ratio", "there are no frames")
        return
    value = sum(not frame for frame in sequence.frames) / len(sequence.frames)
    status: Status = "failed" if value > 0.30 else "passed"
    yield _item("zero_frames", "zero_frame_ratio", value, 0.30, status, f"{100 * value:.4g} % are empty")


def zero_streak(sequence: FrameSequence) -> Iterator[GuardEvidence]:
    """The longest run of frames in which nothing was detected."""
    if not sequence.frames:
        yield skipped("zero_streak", "zero_streak", "there are no frames")
        return
    runs = (len(list(run)) for empty, run in groupby(not frame for frame in sequence.frames) if empty)
    longest = max(runs, default=0)
    status: Status = "failed" if longest >= 3 else "warning" if longest == 2 else "passed"
    yield _item("zero_streak", "zero_streak", float(longest), 2.0, status, f"{longest} empty frames in a row")


RULES: Final[tuple[Rule, ...]] = (
    detection_count_variation,
    centre_jump,
    class_flip,
    zero_frames,
    zero_streak,
)


def _top(frame: tuple[Detection, ...]) -> Detection | None:
    return max(frame, key=lambda one: one.confidence, default=None)


def _centre(one: Detection) -> tuple[float, float] | None:
    x, y, width, height = one.bbox
    if x is None or y is None or width is None or height is None:
        return None
    return x + width / 2, y + height / 2


def _warn(id_: str, metric: str, value: float, threshold: float, words: str) -> GuardEvidence:
    return _item(id_, metric, value, threshold, "warning" if value > threshold else "passed", words)


def _item(id_: str, metric: str, value: float, threshold: float, status: Status, words: str) -> GuardEvidence:
    severity: Severity = "high" if status == "failed" else "medium"
    return item(
        id_,
        metric,
        status=status,
        severity=severity,
        observed=value,
        threshold=threshold,
        explanation=words,
        why="Whatever follows objects over time loses them.",
        cause="Scores hover about the detector's threshold.",
        recommendation="Look at the frames, and at the score threshold.",
    )
