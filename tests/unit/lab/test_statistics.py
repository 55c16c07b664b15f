"""Against SciPy, and the numbers that the planned looks rest on."""

import math

import numpy
import pytest
from scipy import stats

from edgeproof.lab.statistics import limit_rank, signed_rank_counts, signed_rank_interval, walsh_averages

DIFFERENCES = [0.013, -0.004, 0.021, 0.009, 0.001, -0.011, 0.017, 0.04, 0.006, 0.0125]


@pytest.mark.parametrize("n", [1, 2, 5, 8, 12, 16])
def test_the_null_distribution_is_scipys(n: int) -> None:
    counts = signed_rank_counts(n)
    assert sum(counts) == 2**n
    if n <= 8:
        signs = (numpy.arange(2**n)[:, None] >> numpy.arange(n)) & 1
        assert tuple(numpy.bincount(signs @ numpy.arange(1, n + 1), minlength=len(counts))) == counts
    for total in {0, n, len(counts) // 2}:
        # W+ of `total` or less, from a sample whose positive ranks sum to exactly that.
        ranks, left = [], total
        for rank in range(n, 0, -1):
            ranks.append(rank if rank <= left else -rank)
            left -= rank if rank <= left else 0
        told = stats.wilcoxon(ranks, alternative="less", method="exact").pvalue
        assert sum(counts[: total + 1]) / 2**n == pytest.approx(told)


@pytest.mark.parametrize(("n", "confidence"), [(8, 0.95), (8, 0.99), (12, 0.95), (16, 1 - 0.05 / 6)])
def test_the_limits_are_where_scipys_exact_test_starts_to_reject(n: int, confidence: float) -> None:
    values = [math.sin(7.3 * index) + 0.3 for index in range(n)]
    low, high = signed_rank_interval(values, confidence)[1:]
    assert low is not None and high is not None

    def rejected(centre: float) -> bool:
        moved = [value - centre for value in values]
        return bool(stats.wilcoxon(moved, method="exact").pvalue <= 1 - confidence)

    assert rejected(low - 1e-9) and not rejected(low + 1e-9)
    assert rejected(high + 1e-9) and not rejected(high - 1e-9)


def test_the_estimate_is_the_median_of_the_walsh_averages() -> None:
    averages = walsh_averages(DIFFERENCES)
    assert len(averages) == 55
    assert signed_rank_interval(DIFFERENCES, 0.9).point == numpy.median(averages)
    assert signed_rank_interval([3.0], 0.9) == (3.0, None, None)


def test_eight_pairs_suffice_for_the_default_policy_and_seven_do_not() -> None:
    each = 1 - 0.05 / 6  # three looks, two gates
    assert [limit_rank(n, each) for n in (7, 8, 12, 16)] == [0, 1, 7, 19]
    assert signed_rank_interval(DIFFERENCES[:7], each)[1:] == (None, None)
    assert signed_rank_interval(DIFFERENCES[:8], each)[1:] == (-0.011, 0.04)


def test_one_wild_pair_moves_the_estimate_little() -> None:
    calm = [0.001 * index for index in range(-5, 6)]
    wild = [*calm[:-1], 0.5]
    assert abs(signed_rank_interval(wild, 0.95).point - signed_rank_interval(calm, 0.95).point) < 0.002


def test_no_values_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        signed_rank_interval([], 0.95)
