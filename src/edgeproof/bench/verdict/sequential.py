"""The rules that most gates use, on sequential traces: one run of each process, one after the other.

What they are compared with here is the truth and the lab; nothing of Edgeproof judges by them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median
from typing import Final

from scipy import stats

from edgeproof.domain.measurement import percentile

Rule = Callable[[Sequence[int], Sequence[int]], bool]
EVERY: Final = 7
"""So many rotations to one with sequential traces. It shares no divisor with the number of variants, which
is how far the order of processes turns: each comes first, and before each other, as often as the rest."""


def is_sequential(index: int) -> bool:
    """Whether rotation ``index`` of a model has sequential traces that count."""
    return index % EVERY == EVERY - 1


def _slower(one: float, other: float, percent: float) -> bool:
    return other >= one * (1 + percent / 100)


def _p99(values: Sequence[int]) -> float:
    return percentile(sorted(values), 0.99)


def mean_3(baseline: Sequence[int], candidate: Sequence[int]) -> bool:
    return _slower(fmean(baseline), fmean(candidate), 3)


def median_5(baseline: Sequence[int], candidate: Sequence[int]) -> bool:
    return _slower(median(baseline), median(candidate), 5)


def mean_or_p99_3(baseline: Sequence[int], candidate: Sequence[int]) -> bool:
    return mean_3(baseline, candidate) or _slower(_p99(baseline), _p99(candidate), 3)


def mann_whitney(baseline: Sequence[int], candidate: Sequence[int]) -> bool:
    """Two-sided p below 0.01, and the candidate is the slower one."""
    told = stats.mannwhitneyu(baseline, candidate, alternative="two-sided")
    return bool(told.pvalue < 0.01) and median(candidate) > median(baseline)


RULES: Final[Mapping[str, Rule]] = {
    "3 % on means": mean_3,
    "5 % on medians": median_5,
    "3 % on mean or p99": mean_or_p99_3,
    "Mann-Whitney, p < 0.01": mann_whitney,
}
"""Whether the rule calls the candidate a regression; times in ns, neither sequence empty."""
