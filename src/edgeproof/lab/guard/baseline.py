"""Rules over a candidate's detections beside its baseline's on the same images (reference section 4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from edgeproof.contract.comparison import GuardEvidence
from edgeproof.lab.guard.item import Severity, Status, item, skipped
from edgeproof.lab.guard.output_quality import LIMITS, QualitySummary

BINS: Final = 5
FEW: Final = 5
"""A class with fewer baseline detections than this can vanish by chance."""


@dataclass(frozen=True)
class BaselineCase:
    """``latency_delta_pct``: candidate against baseline, negative is faster; None if not compared."""

    baseline: QualitySummary
    candidate: QualitySummary
    latency_delta_pct: float | None = None


Rule = Callable[[BaselineCase], Iterator[GuardEvidence]]


def invalid_bbox_factor(case: BaselineCase) -> Iterator[GuardEvidence]:
    """How many times the baseline's share of invalid boxes."""
    yield _factor(case, "invalid_bbox_factor", "invalid_bbox_rate")


def bbox_collapse_factor(case: BaselineCase) -> Iterator[GuardEvidence]:
    """How many times the baseline's share of collapsed boxes."""
    yield _factor(case, "bbox_collapse_factor", "bbox_collapse_ratio")


def saturation_factor(case: BaselineCase) -> Iterator[GuardEvidence]:
    """How many times the baseline's share of saturated scores."""
    yield _factor(case, "saturation_factor", "saturation_ratio")


def detection_count_drop(case: BaselineCase) -> Iterator[GuardEvidence]:
    """The candidate detects far less, or nothing."""
    before, now = case.baseline.detections, case.candidate.detections
    if before == 0:
        yield skipped("detection_count_drop", "detections", "the baseline detected nothing")
        return
    drop = (before - now) / before
    status: Status = "failed" if drop > 0.5 else "passed"
    yield item(
        "detection_count_drop",
        "detections",
        status=status,
        severity="high" if drop > 0.8 or now == 0 else "medium",
        observed=float(now),
        baseline=float(before),
        threshold=0.5,
        explanation=f"{now} detections against the baseline's {before}",
        why="What is no longer detected is missed in the field.",
        cause="Scores fell below the detector's threshold.",
        recommendation="Compare the scores of both models on the same images.",
    )


def class_count_drop(case: BaselineCase) -> Iterator[GuardEvidence]:
    """A class of which the candidate finds at most half; classes that are rare anyway give a note."""
    if not case.baseline.by_class:
        yield skipped("class_count_drop", "detections", "the baseline detected nothing")
        return
    for class_id, before in sorted(case.baseline.by_class.items()):
        now = case.candidate.by_class.get(class_id, 0)
        drop = (before - now) / before
        gone = drop >= 0.5
        status: Status = "passed" if not gone else "warning" if before < FEW else "failed"
        yield item(
            "class_count_drop",
            f"class_{class_id}.detections",
            status=status,
            severity="low" if before < FEW else "high" if now == 0 else "medium",
            observed=float(now),
            baseline=float(before),
            threshold=0.5,
            explanation=f"class {class_id}: {now} detections against the baseline's {before}",
            why="A class can be lost while the total hardly changes.",
            cause="The class is rare in the calibration data.",
            recommendation="Calibrate on data that hold this class.",
        )


def score_histogram_shift(case: BaselineCase) -> Iterator[GuardEvidence]:
    """Half the L1 distance between both histograms of scores (5 bins)."""
    if (both := _scores(case)) is None:
        yield skipped("score_histogram_shift", "score_histogram_distance", "one side detected nothing")
        return
    before, now = (_histogram(one) for one in both)
    distance = sum(abs(one - other) for one, other in zip(before, now, strict=True)) / 2
    yield _shift("score_histogram_shift", "score_histogram_distance", distance >= 0.30, distance, None, 0.30)


def score_mean_shift(case: BaselineCase) -> Iterator[GuardEvidence]:
    """The mean score moved."""
    if (both := _scores(case)) is None:
        yield skipped("score_mean_shift", "score_mean", "one side detected nothing")
        return
    before, now = (_mean(one) for one in both)
    yield _shift("score_mean_shift", "score_mean", abs(now - before) >= 0.20, now, before, 0.20)


def score_spread_shift(case: BaselineCase) -> Iterator[GuardEvidence]:
    """The spread of the scores moved, or fell to next to nothing."""
    if (both := _scores(case)) is None:
        yield skipped("score_spread_shift", "score_std", "one side detected nothing")
        return
    before, now = (_std(one) for one in both)
    moved = abs(now - before) >= 0.20 or now < 0.05 <= before
    yield _shift("score_spread_shift", "score_std", moved, now, before, 0.20)


def score_saturation_shift(case: BaselineCase) -> Iterator[GuardEvidence]:
    """The share of saturated scores rose."""
    if _scores(case) is None:
        yield skipped("score_saturation_shift", "saturation_ratio", "one side detected nothing")
        return
    before, now = case.baseline.saturation_ratio, case.candidate.saturation_ratio
    yield _shift("score_saturation_shift", "saturation_ratio", now - before >= 0.30, now, before, 0.30)


def latency_quality_tradeoff(case: BaselineCase) -> Iterator[GuardEvidence]:
    """Faster, but with detections that another rule of this family calls failed."""
    delta = case.latency_delta_pct
    if delta is None:
        yield skipped("latency_quality_tradeoff", "latency_delta_pct", "latencies were not compared")
        return
    risky = [one.type for rule in RISKS for one in rule(case) if one.status == "failed"]
    traded = delta <= -3.0 and bool(risky)
    yield item(
        "latency_quality_tradeoff",
        "latency_delta_pct",
        status="warning" if traded else "passed",
        severity="medium",
        observed=delta,
        threshold=-3.0,
        explanation=f"latency {delta:+.4g} %; failed: {', '.join(sorted(set(risky))) or 'nothing'}",
        why="Speed that is paid for with detections is no gain.",
        cause="Precision was traded for speed.",
        recommendation="Look at the detections before the latency.",
    )


RISKS: Final[tuple[Rule, ...]] = (
    invalid_bbox_factor,
    bbox_collapse_factor,
    saturation_factor,
    detection_count_drop,
    class_count_drop,
    score_histogram_shift,
    score_mean_shift,
    score_spread_shift,
    score_saturation_shift,
)
RULES: Final[tuple[Rule, ...]] = (*RISKS, latency_quality_tradeoff)


def _factor(case: BaselineCase, id_: str, rate: str) -> GuardEvidence:
    """Above 5 times medium, above 10 high, and only where the candidate is above the review floor."""
    before: float = getattr(case.baseline, rate)
    now: float = getattr(case.candidate, rate)
    floor, failed = LIMITS[rate]
    # From nothing every rise is without bound: then the rate itself says how grave it is.
    factor = now / before if before else (math.inf if now > failed else 10.0 if now > floor else 0.0)
    severity: Severity = "high" if factor > 10 else "medium"
    return item(
        id_,
        rate,
        status="failed" if now > floor and factor > 5 else "passed",
        severity=severity,
        observed=now,
        baseline=before,
        threshold=5.0,
        explanation=f"{rate} {now:.4g} against the baseline's {before:.4g}",
        why="A flaw that the baseline hardly has came with the candidate.",
        cause="Quantisation or conversion changed the outputs.",
        recommendation="Compare the raw outputs of both models.",
    )


def _shift(
    id_: str, metric: str, moved: bool, now: float, before: float | None, threshold: float
) -> GuardEvidence:
    return item(
        id_,
        metric,
        status="failed" if moved else "passed",
        severity="medium",
        observed=now,
        baseline=before,
        threshold=threshold,
        explanation=f"{metric} {now:.4g}" + ("" if before is None else f" against {before:.4g}"),
        why="A threshold tuned on the baseline's scores no longer means the same.",
        cause="Quantisation moved the scores.",
        recommendation="Calibrate again, or tune the score threshold for this build.",
    )


def _scores(case: BaselineCase) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    before, now = case.baseline.scores, case.candidate.scores
    return (before, now) if before and now else None


def _histogram(scores: Sequence[float]) -> list[float]:
    counts = [0] * BINS
    for score in scores:
        counts[min(max(int(score * BINS), 0), BINS - 1)] += 1
    return [count / len(scores) for count in counts]


def _mean(scores: Sequence[float]) -> float:
    return math.fsum(scores) / len(scores)


def _std(scores: Sequence[float]) -> float:
    mean = _mean(scores)
    return math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / len(scores))
