"""Limits for the difference of two paired proportions, also where samples come in clusters.

Limits invert Tango's score test on the discordant pairs (Tango, Statistics in Medicine 17, 1998,
891-908): unlike Wald's they have a width when no pair is discordant. Samples derived from one original
are not independent: counts are divided by the design effect (Rao and Scott, Biometrics 48, 1992,
577-585), the ratio of the cluster-robust variance to the independent one, and the quantile is Student's
with one degree of freedom less than there are clusters.

Ours, and conservative: the design effect is never below 1; and since few discordant pairs say little
about it, it is drawn towards that of wholly dependent clusters with the weight of one discordant pair.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Final, NamedTuple

MOST_DEGREES: Final = 400  # Student's quantile there is within 0.3 % of the normal one, on the safe side
LARGEST_FACTOR: Final = 10_000


class PairedCounts(NamedTuple):
    """Effective numbers: pairs, those that only the first got right, those that only the second did."""

    pairs: float
    first_only: float
    second_only: float
    clusters: float

    @property
    def difference(self) -> float:
        return (self.second_only - self.first_only) / self.pairs

    def times(self, factor: float) -> PairedCounts:
        """As many more samples of the same kind."""
        return PairedCounts(*(factor * value for value in self))


class Limits(NamedTuple):
    """One-sided limits of second minus first, as fractions between -1 and 1."""

    low: float
    high: float


def effective_counts(differences: Sequence[int], groups: Sequence[Hashable] | None) -> PairedCounts:
    """Counts over per-sample differences (-1, 0 or 1), discounted for the dependence within groups."""
    sizes: defaultdict[Hashable, int] = defaultdict(int)
    sums: defaultdict[Hashable, int] = defaultdict(int)
    for group, difference in zip(
        range(len(differences)) if groups is None else groups, differences, strict=True
    ):
        sizes[group] += 1
        sums[group] += difference
    samples = len(differences)
    first, second = differences.count(-1), differences.count(1)
    effect = 1.0
    if 1 < len(sizes) < samples:
        mean = (second - first) / samples
        robust = math.fsum((sums[group] - size * mean) ** 2 for group, size in sizes.items())
        robust *= len(sizes) / (len(sizes) - 1)
        independent = (first + second - samples * mean * mean) * samples / (samples - 1)
        dependent = sum(size * size for size in sizes.values()) / samples
        seen = robust / independent if independent > 0 else dependent
        discordant = first + second
        effect = max(1.0, (discordant * seen + dependent) / (discordant + 1))
    return PairedCounts(samples / effect, first / effect, second / effect, len(sizes))


def score_limits(counts: PairedCounts, confidence: float) -> Limits:
    """One-sided limits, each at ``confidence``; (-1, 1) where a single cluster says nothing."""
    if counts.clusters < 2:
        return Limits(-1.0, 1.0)
    quantile = student_quantile(confidence, min(int(counts.clusters) - 1, MOST_DEGREES))
    mirrored = counts._replace(first_only=counts.second_only, second_only=counts.first_only)
    return Limits(_lower(counts, quantile), -_lower(mirrored, quantile))


def samples_to(
    decides: Callable[[Limits], bool], counts: PairedCounts, samples: int, confidence: float
) -> int | None:
    """About how many samples like these would let ``decides`` hold, to two digits upwards.

    None if ten thousand times as many would not.
    """
    few, many = 1.0, 2.0
    while not decides(score_limits(counts.times(many), confidence)):
        few, many = many, many * 2
        if many > LARGEST_FACTOR:
            return None
    while many / few > 1.005:
        middle = math.sqrt(few * many)
        if decides(score_limits(counts.times(middle), confidence)):
            many = middle
        else:
            few = middle
    needed = math.ceil(samples * many)
    unit = int(math.pow(10, max(len(str(needed)) - 2, 0)))
    return math.ceil(needed / unit) * unit


@lru_cache(maxsize=256)
def student_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's t, for a probability above one half (bisection of its distribution)."""
    low, high = 0.0, 2 * NormalDist().inv_cdf(probability)
    while _student_distribution(high, degrees) < probability:
        low, high = high, high * 2
    return _root(lambda t: probability - _student_distribution(t, degrees), low, high)


def _student_distribution(t: float, degrees: int) -> float:
    """Finite sums of Abramowitz and Stegun 26.7.3 and 26.7.4; ``t`` not negative."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for step in range(2 + odd, degrees + 1, 2):
        total += term
        term *= cosine * cosine * (step - 1) / step
    within = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return (1 + within) / 2


def _lower(counts: PairedCounts, quantile: float) -> float:
    """The smallest difference that the score test does not reject."""
    observed = counts.difference
    return _root(lambda delta: _score(counts, delta) - quantile, -1.0, observed) if observed > -1 else -1.0


def _score(counts: PairedCounts, delta: float) -> float:
    """Tango's statistic against a true difference of ``delta``; falls as ``delta`` grows."""
    pairs, first, second = counts.pairs, counts.first_only, counts.second_only
    linear = first * (1 - delta) + second * (1 + delta) - 2 * pairs * delta
    root = math.sqrt(max(linear * linear + 8 * pairs * first * delta * (1 - delta), 0.0))
    nuisance = max((linear + root) / (4 * pairs), -delta, 0.0)
    variance = pairs * max(2 * nuisance + delta - delta * delta, 0.0)
    gap = second - first - pairs * delta
    return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where ``falling`` passes zero between ``low`` and ``high``, to the last bits."""
    for _ in range(80):
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
