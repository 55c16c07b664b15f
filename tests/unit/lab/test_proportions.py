"""Tango's limits against a published example, Student's against SciPy, clusters against none."""

import pytest
from scipy import stats

from edgeproof.lab.proportions import (
    PairedCounts,
    effective_counts,
    samples_to,
    score_limits,
    student_quantile,
)


@pytest.mark.parametrize("degrees", [1, 2, 3, 7, 8, 29, 400])
@pytest.mark.parametrize("probability", [0.8, 0.95, 0.999])
def test_the_quantile_is_students(degrees: int, probability: float) -> None:
    assert student_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees))


def test_a_published_interval() -> None:
    """Airway reactivity, 21 pairs, 1 and 7 discordant: Tango's 95 % interval is -0.517 to -0.026
    (Fagerland, Lydersen and Laake, Statistics in Medicine 33, 2014)."""
    many = 1e9  # clusters: Student's quantile at its largest number of degrees
    low, high = score_limits(PairedCounts(21, 7, 1, many), 0.975)
    assert (low, high) == pytest.approx((-0.517, -0.026), abs=0.002)


def test_limits_hold_the_estimate_and_mirror() -> None:
    counts = PairedCounts(100, 9, 4, 100)
    low, high = score_limits(counts, 0.95)
    assert -1 < low < counts.difference == -0.05 < high < 1
    assert score_limits(PairedCounts(100, 4, 9, 100), 0.95) == pytest.approx((-high, -low))


def test_no_discordant_pair_still_leaves_a_width() -> None:
    low, high = score_limits(effective_counts([0] * 10, None), 0.95)
    assert low == -high < -0.2
    assert score_limits(effective_counts([0] * 3000, None), 0.95).low > -0.001


def test_extremes() -> None:
    assert score_limits(effective_counts([-1] * 10, None), 0.95).low == -1
    assert score_limits(effective_counts([1] * 10, None), 0.95).high == 1
    assert score_limits(effective_counts([0] * 50, [7] * 50), 0.95) == (-1, 1)


def test_copies_of_one_original_count_as_little_more_than_one() -> None:
    once = [-1] * 6 + [1] * 4 + [0] * 190
    tenfold = [value for value in once for _ in range(10)]
    groups = [index for index in range(200) for _ in range(10)]
    alone = score_limits(effective_counts(once, None), 0.95)
    copied = score_limits(effective_counts(tenfold, groups), 0.95)
    naive = score_limits(effective_counts(tenfold, None), 0.95)
    assert copied == pytest.approx(alone, abs=0.001)
    assert naive.high - naive.low < 0.5 * (copied.high - copied.low)


def test_groups_of_one_change_nothing() -> None:
    values = [-1, 1, 0, 0, 0, 0, -1, 0] * 10
    assert effective_counts(values, list(range(80))) == effective_counts(values, None)


def test_groups_never_help() -> None:
    spread = [-1, 1] * 40  # within each group the differences cancel: the robust variance is zero
    assert effective_counts(spread, [index // 2 for index in range(80)]).pairs <= 80


def test_samples_needed_decide_and_few_less_do_not() -> None:
    counts = effective_counts([0] * 100, None)
    needed = samples_to(lambda limits: limits.low >= -0.01, counts, 100, 0.95)
    assert needed == 280  # 1.65**2 * 99
    assert score_limits(counts.times(2.80), 0.95).low >= -0.01 > score_limits(counts.times(2.6), 0.95).low


def test_samples_needed_is_none_on_the_margin_itself() -> None:
    counts = PairedCounts(1000, 20, 10, 1000)
    assert samples_to(lambda at: at.low >= -0.01 or at.high < -0.01, counts, 1000, 0.95) is None
