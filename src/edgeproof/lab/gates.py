"""The latency gates: what one process pair is worth, and a metric's verdict over all pairs.

The unit of inference is the process pair (DESIGN decision 15), and it can be read in two ways. *Round by
round* its ratio is the median over its rounds of the ratio of both blocks' statistics: what slows the device
for longer than a round slows both blocks of it. But whatever befalls fewer than half of a side's blocks is
not seen so. *Over all calls* it is the ratio of the statistic of each process's calls together: that sees
it, and the device's own unrest with it.

The median is read round by round. Mean and percentiles are gated by both: round by round, and as a
regression if they surely are one over all calls. Shown without a gate they are
those of all calls.

A pair without a round of unflagged blocks has no value and is left out of the estimate, never out of the
evidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from statistics import fmean, median
from typing import Final, NamedTuple

from edgeproof.contract.canonical import round6
from edgeproof.contract.comparison import (
    CertifiedPercentile,
    LatencyComparison,
    LatencyEstimate,
    LatencyVerdict,
)
from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import LatencyMetric
from edgeproof.contract.samples import PairSamples
from edgeproof.domain.measurement import NS_PER_MS, percentile
from edgeproof.lab.percentiles import TAILS, certify
from edgeproof.lab.statistics import signed_rank_interval

ALWAYS_DECIDABLE: Final[frozenset[LatencyMetric]] = frozenset({"p50", "p90"})
"""They always come to a verdict. Of the p90, that is ``inconclusive`` until it is certified."""

SHOWN: Final[tuple[LatencyMetric, ...]] = ("mean", "p95", "p99")
_FRACTIONS: Final[dict[LatencyMetric, float]] = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


Blocks = list[tuple[int, ...]]


def split_confidence(confidence: float, looks: int, gates: int) -> float:
    """The confidence of one interval, so that those of all gates at all looks hold together (Bonferroni).

    That is of the readings round by round. A gate other than the median's is read a second time
    (``compare_latency``), which has no share of its own.
    """
    return 1 - (1 - confidence) / (looks * gates)


class PairValue(NamedTuple):
    """Each side's median over the rounds, in nanoseconds, and the median of the rounds' log ratios."""

    baseline: float
    candidate: float
    log_ratio: float


def pair_values(pairs: Sequence[PairSamples], metric: LatencyMetric) -> list[PairValue]:
    """Of each usable pair, round by round. Raises ``Refused`` (``result_invalid``) if a time is not
    positive."""
    rounds = (
        list(zip(*(_block_values(side, metric) for side in _clean(pair)), strict=True)) for pair in pairs
    )
    return [_pair_value(one) for one in rounds if one]


def whole_values(pairs: Sequence[PairSamples], metric: LatencyMetric) -> list[PairValue]:
    """Of each usable pair, over all calls. Raises as ``pair_values``."""
    sides = (_clean(pair) for pair in pairs)
    values = (
        [_positive(_value([*chain.from_iterable(side)], metric), metric) for side in both]
        for both in sides
        if both[0]
    )
    return [PairValue(one, other, math.log(other / one)) for one, other in values]


def estimate_latency(
    pairs: Sequence[PairSamples], metric: LatencyMetric, confidence: float
) -> LatencyEstimate:
    """The paired ratio candidate / baseline of ``metric``, round by round, with its interval at
    ``confidence``.

    Raises ``Refused`` (``result_invalid``) if no pair is usable or a time is not positive.
    """
    return _estimate(pair_values(pairs, metric), metric, confidence)


def estimate_whole(pairs: Sequence[PairSamples], metric: LatencyMetric, confidence: float) -> LatencyEstimate:
    """As ``estimate_latency``, over all calls."""
    return _estimate(whole_values(pairs, metric), metric, confidence)


def _estimate(values: Sequence[PairValue], metric: LatencyMetric, confidence: float) -> LatencyEstimate:
    if not values:
        raise Refused("result_invalid", "no process pair has an unflagged block on both sides")
    estimate = signed_rank_interval([one.log_ratio for one in values], confidence)
    return LatencyEstimate(
        metric=metric,
        baseline_ms=round6(median(one.baseline for one in values) / NS_PER_MS),
        candidate_ms=round6(median(one.candidate for one in values) / NS_PER_MS),
        ratio=round6(math.exp(estimate.point)),
        ratio_low=None if estimate.low is None else round6(math.exp(estimate.low)),
        ratio_high=None if estimate.high is None else round6(math.exp(estimate.high)),
        confidence=round6(confidence),
    )


def compare_latency(
    pairs: Sequence[PairSamples], metric: LatencyMetric, margin_pct: float, confidence: float
) -> LatencyComparison:
    """Against a non-inferiority margin: the reading of the metric that says the worse. Raises as
    ``estimate_latency``.

    Both readings are made at ``confidence``. The second can only object, so a wrong ``no_regression`` is no
    likelier for it: at most half of 1 - ``confidence``, one side of an interval. A wrong ``regression`` of a
    candidate on the margin in both is up to twice as likely, 1 - ``confidence``. So over all gates and looks
    together a wrong ``regression`` keeps within the policy's error, but no more within half of it.
    """
    told = estimate_latency(pairs, metric, confidence)
    verdict = latency_verdict(told.ratio_low, told.ratio_high, margin_pct)
    sure = certified(certify(pairs), metric)
    if metric not in ALWAYS_DECIDABLE and not (sure and narrow(told.ratio_low, told.ratio_high, margin_pct)):
        verdict = "not_decidable"
    elif not sure:
        verdict = "inconclusive"
    if sure and metric != "p50" and verdict != "regression":
        whole = estimate_whole(pairs, metric, confidence)
        decidable = metric in ALWAYS_DECIDABLE or narrow(whole.ratio_low, whole.ratio_high, margin_pct)
        if decidable and latency_verdict(whole.ratio_low, whole.ratio_high, margin_pct) == "regression":
            told, verdict = whole, "regression"
    return LatencyComparison(
        metric=metric,
        baseline_ms=told.baseline_ms,
        candidate_ms=told.candidate_ms,
        ratio=told.ratio,
        ratio_low=told.ratio_low,
        ratio_high=told.ratio_high,
        confidence=told.confidence,
        margin_pct=round6(margin_pct),
        verdict=verdict,
        improved=verdict == "no_regression" and told.ratio_high is not None and told.ratio_high < 1,
    )


def latency_verdict(low: float | None, high: float | None, margin_pct: float) -> LatencyVerdict:
    """Whole interval up to the margin, wholly beyond it, or neither."""
    bound = round6(1 + margin_pct / 100)
    if low is None or high is None:
        return "inconclusive"
    if high <= bound:
        return "no_regression"
    return "regression" if low > bound else "inconclusive"


def certified(percentiles: Sequence[CertifiedPercentile], metric: LatencyMetric) -> bool:
    """Whether ``metric`` is; the mean, which is no percentile and needs no floor, always."""
    return metric not in TAILS or any(one.certified for one in percentiles if one.metric == metric)


def narrow(low: float | None, high: float | None, margin_pct: float) -> bool:
    """Whether the interval of the ratio is narrower than the margin; an unbounded one never is."""
    return low is not None and high is not None and 100 * (high - low) < margin_pct


def _pair_value(rounds: Sequence[tuple[float, float]]) -> PairValue:
    return PairValue(
        baseline=median(one for one, _ in rounds),
        candidate=median(other for _, other in rounds),
        log_ratio=median(math.log(other / one) for one, other in rounds),
    )


def _clean(pair: PairSamples) -> tuple[Blocks, Blocks]:
    """The calls (ns) of both sides' blocks that count, round by round. A round ends with both blocks
    unflagged or with neither (``runtime.rounds``), so the unflagged ones of both sides belong together in
    their order."""
    baseline, candidate = (
        [one.samples_ns for one in side.blocks if one.samples_ns and not one.flags]
        for side in (pair.baseline, pair.candidate)
    )
    rounds = min(len(baseline), len(candidate))
    return baseline[:rounds], candidate[:rounds]


def _block_values(blocks: Blocks, metric: LatencyMetric) -> list[float]:
    return [_positive(_value(calls, metric), metric) for calls in blocks]


def _value(calls: Sequence[int], metric: LatencyMetric) -> float:
    return fmean(calls) if metric == "mean" else percentile(sorted(calls), _FRACTIONS[metric])


def _positive(value: float, metric: LatencyMetric) -> float:
    if value <= 0:
        raise Refused("result_invalid", f"the {metric} of a process is not a positive time")
    return value
