"""Which percentiles the evidence certifies: MLPerf LoadGen's early-stopping floors, counted over blocks.

A percentile is certified when so many independent observations were made that, were the true tail as heavy
as the percentile allows, at most one of them beyond it would be a surprise at 99 % confidence. Calls inside
a block share caches, clocks and neighbours, so a block of a process pair counts once, however many calls
it has. Nothing here judges a latency.

Source: MLPerf Inference LoadGen, ``early_stopping.cc``, with zero tolerance and one overlatency query.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from edgeproof.contract.canonical import round6
from edgeproof.contract.comparison import CertifiedPercentile
from edgeproof.contract.policy import LatencyMetric
from edgeproof.contract.samples import PairSamples, SideSamples

CONFIDENCE: Final = 0.99
TAILS: Final[dict[LatencyMetric, float]] = {"p90": 0.10, "p95": 0.05, "p99": 0.01}
"""The share of observations that lies beyond each percentile whose certification is told."""


@lru_cache(maxsize=16)
def needed(tail: float, confidence: float = CONFIDENCE) -> int:
    """The fewest observations that certify the percentile with the share ``tail`` (0 to 1) beyond it.

    The smallest ``n`` for which at most one of ``n`` lies beyond with probability ``1 - confidence`` or less.
    """
    n = 2
    while (1 - tail) ** (n - 1) * (1 - tail + n * tail) > 1 - confidence:
        n += 1
    return n


def certify(pairs: Sequence[PairSamples]) -> tuple[CertifiedPercentile, ...]:
    """p90, p95 and p99 of both sides. Certified only if both sides have observations enough."""
    baseline = sum(_blocks(pair.baseline) for pair in pairs)
    candidate = sum(_blocks(pair.candidate) for pair in pairs)
    return tuple(
        CertifiedPercentile(
            metric=metric,
            confidence=round6(CONFIDENCE),
            needed=needed(tail),
            baseline_blocks=baseline,
            candidate_blocks=candidate,
            certified=min(baseline, candidate) >= needed(tail),
        )
        for metric, tail in TAILS.items()
    )


def bare_words(metric: str) -> str:
    """What to say of a latency that comes without its blocks: ``not certified`` of a tail, else nothing.

    ``metric`` as ``p95`` or ``p95_ms``.
    """
    return "not certified" if metric.removesuffix("_ms") in TAILS else ""


def _blocks(side: SideSamples) -> int:
    return sum(1 for block in side.blocks if block.samples_ns and not block.flags)
