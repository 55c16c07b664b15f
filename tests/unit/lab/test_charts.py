"""The charts are well-formed, say what they are, and stand any range of figures."""

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproof.contract.comparison import LatencyComparison
from edgeproof.lab.charts import distribution_chart, ratio_chart, time_chart
from edgeproof.lab.series import BlockMark, Distribution, TimeLine

RATIOS = st.floats(0.001, 1000)


def gate(ratio: float, low: float | None, high: float | None, margin: float = 3.0) -> LatencyComparison:
    return LatencyComparison(
        metric="p50", baseline_ms=1.0, candidate_ms=ratio, ratio=ratio, ratio_low=low, ratio_high=high,
        confidence=0.99, margin_pct=margin, verdict="inconclusive", improved=False,
    )  # fmt: skip


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label")
    return ["".join(one.itertext()).strip() for one in root.iter() if one.tag.endswith("text")]


@settings(max_examples=15, deadline=None)
@given(values=st.tuples(RATIOS, RATIOS, RATIOS).map(sorted), margin=st.floats(0.1, 100))
def test_any_ratio_can_be_drawn(values: list[float], margin: float) -> None:
    low, ratio, high = values
    told = texts(ratio_chart([gate(ratio, low, high, margin)], [], salt="x"))
    assert "p50" in told
    assert len(told) >= 3


def test_an_unbounded_interval_is_dotted() -> None:
    assert "stroke-dasharray" in ratio_chart([gate(0.9, None, None, 3.0)], [], salt="x")


def test_gates_come_first_and_what_gates_nothing_after() -> None:
    shown = gate(1.1, 1.0, 1.2)
    told = texts(ratio_chart([gate(1.0, 0.99, 1.01)], [shown], salt="x"))
    assert told.count("p50") == 2
    assert "← faster · candidate ÷ baseline · slower →" in told


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_distributions_of_any_size(scale: float) -> None:
    one = Distribution(side="baseline", ms=(scale, 2 * scale), share=(0.5, 1.0), calls=2)
    other = Distribution(side="candidate", ms=(scale,), share=(1.0,), calls=1)
    assert {"baseline", "candidate", "latency, ms"} <= set(texts(distribution_chart([one, other], salt="x")))


def test_flagged_blocks_are_marked_apart() -> None:
    def mark(flags: tuple[str, ...]) -> BlockMark:
        return BlockMark(side="candidate", pair=0, seconds=0.5, median_ms=1.0, load=0.0, flags=flags)

    plain = TimeLine(marks=(mark(()),), starts=(0.0,))
    marked = TimeLine(marks=(mark(()), mark(("load",))), starts=(0.0,))
    assert "flagged, not counted" not in texts(time_chart(plain, salt="x"))
    assert "flagged, not counted" in texts(time_chart(marked, salt="x"))
    assert "var(--warn)" in time_chart(marked, salt="x")


def test_a_name_from_outside_is_never_drawn() -> None:
    nasty = TimeLine(
        marks=(
            BlockMark(side="baseline", pair=0, seconds=0.0, median_ms=1.0, load=0.0, flags=("<script>",)),
        ),
        starts=(0.0,),
    )
    assert "script" not in time_chart(nasty, salt="x")
