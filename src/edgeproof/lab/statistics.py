"""Exact inference on few paired differences: Hodges-Lehmann with Wilcoxon signed-rank limits.

No normal approximation and no bootstrap: with 8 to 64 pairs the null distribution is counted exactly.
Assumes independent differences that are symmetric about their median; nothing about their spread, so a
rare wild pair moves the estimate little. Not for correlated calls inside one process.

Source: Hollander, Wolfe and Chicken, *Nonparametric Statistical Methods*, 3rd ed., sections 3.1-3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, combinations_with_replacement
from statistics import median
from typing import NamedTuple


class Estimate(NamedTuple):
    """A point and its two-sided limits, in the unit of the input; None where there is no limit."""

    point: float
    low: float | None
    high: float | None


@lru_cache(maxsize=64)
def signed_rank_counts(n: int) -> tuple[int, ...]:
    """How many of the ``2**n`` sign patterns give each signed-rank sum ``0 .. n(n+1)/2``."""
    counts = [1]
    for rank in range(1, n + 1):
        shifted = [0] * rank + counts
        counts = [one + other for one, other in zip(counts + [0] * rank, shifted, strict=True)]
    return tuple(counts)


def walsh_averages(values: Sequence[float]) -> list[float]:
    """The means of all pairs of values, each value with itself too, in ascending order."""
    return sorted((one + other) / 2 for one, other in combinations_with_replacement(values, 2))


def limit_rank(n: int, confidence: float) -> int:
    """Which Walsh average, counted from either end, is a limit at two-sided ``confidence``; 0: none is.

    The largest ``k`` for which a signed-rank sum below ``k`` has at most probability
    ``(1 - confidence) / 2`` under symmetry about zero.
    """
    allowed = (1 - confidence) / 2 * 2**n
    return sum(1 for total in accumulate(signed_rank_counts(n)) if total <= allowed)


def signed_rank_interval(values: Sequence[float], confidence: float) -> Estimate:
    """Hodges-Lehmann estimate of the centre of ``values`` with exact limits at ``confidence``.

    Too few values for that confidence leave both limits None. Ties and zeros only make the (closed)
    interval cover more often. Raises ``ValueError`` without values.
    """
    if not values:
        raise ValueError("no values")
    averages = walsh_averages(values)
    rank = limit_rank(len(values), confidence)
    point = median(averages)
    return Estimate(point, averages[rank - 1], averages[-rank]) if rank else Estimate(point, None, None)
