"""The interval plot's geometry: everything that matters is inside, in order, and readable."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edgeproof.contract.comparison import LatencyComparison
from edgeproof.lab.plots import interval_plot

RATIOS = st.floats(0.01, 100)


def gate(ratio: float, low: float | None, high: float | None, margin: float = 3.0) -> LatencyComparison:
    return LatencyComparison(
        metric="p50", baseline_ms=1.0, candidate_ms=ratio, ratio=ratio, ratio_low=low, ratio_high=high,
        confidence=0.99, margin_pct=margin, verdict="inconclusive", improved=False,
    )  # fmt: skip


@given(values=st.tuples(RATIOS, RATIOS, RATIOS).map(sorted), margin=st.floats(0.1, 100))
def test_marks_are_in_view_and_in_order(values: list[float], margin: float) -> None:
    low, ratio, high = values
    plot = interval_plot([gate(ratio, low, high, margin)])
    (row,) = plot.rows
    assert row.low is not None
    assert row.high is not None
    assert plot.left <= row.low <= row.point <= row.high <= plot.right
    assert plot.left <= plot.one <= row.margin <= plot.right
    assert plot.ticks
    places = sorted(tick.x for tick in plot.ticks)
    assert all(other - one >= 44 for one, other in pairwise(places))


def test_round_ratios_are_named_and_one_is_among_them() -> None:
    assert {tick.text for tick in interval_plot([gate(0.52, 0.51, 0.53)]).ticks} >= {"1", "0.8", "0.6"}


def test_an_unbounded_interval_has_no_ends() -> None:
    (row,) = interval_plot([gate(1.0, None, None)]).rows
    assert (row.low, row.high) == (None, None)
