"""The report's charts as SVG text: ratios with intervals, distributions, time line.

Drawn by Matplotlib (extra ``report``), which needs no browser and keeps text as text. Colours are CSS
variables of the page, so that one drawing serves light, dark and print. Not for any number that is not
drawn: what is shown comes from ``series`` and from the comparison.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from edgeproof.contract.comparison import LatencyComparison, LatencyEstimate
from edgeproof.domain.sides import Side
from edgeproof.lab.series import Distribution, TimeLine

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

# Matplotlib knows no CSS variables: each stands for one while it draws, in colours nobody would choose.
_VARIABLES: Final = {
    "#010a01": "ink",
    "#010a02": "soft",
    "#010a03": "line",
    "#010a04": "baseline",
    "#010a05": "candidate",
    "#010a06": "good",
    "#010a07": "bad",
    "#010a08": "warn",
    "#010a09": "bad-bg",
    "#010a0a": "paper",
}
_COLOUR: Final = {name: colour for colour, name in _VARIABLES.items()}
_VERDICTS: Final = {
    "no_regression": _COLOUR["good"],
    "regression": _COLOUR["bad"],
    "inconclusive": _COLOUR["warn"],
    "not_decidable": _COLOUR["soft"],
}
_SENTINEL: Final = re.compile(r"#010a0[1-9a]")
_STYLE: Final[dict[RcKeyType, Any]] = {
    "svg.fonttype": "none",
    "font.size": 11,
    "text.color": _COLOUR["soft"],
    "axes.labelcolor": _COLOUR["soft"],
    "axes.edgecolor": _COLOUR["line"],
    "xtick.color": _COLOUR["line"],
    "ytick.color": _COLOUR["line"],
    "xtick.labelcolor": _COLOUR["soft"],
    "ytick.labelcolor": _COLOUR["soft"],
    "grid.color": _COLOUR["line"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
}
_DASHES: Final[dict[Side, str]] = {"baseline": "--", "candidate": "-"}
_MARKERS: Final[dict[Side, str]] = {"baseline": "o", "candidate": "s"}
_INCH: Final = 72
_NARROW: Final = 400
WIDE: Final = 860
"""Pixels: of a drawing across the page. The others fit a phone, or stand two in a row."""


def ratio_chart(gates: Sequence[LatencyComparison], shown: Sequence[LatencyEstimate], *, salt: str) -> str:
    """A forest plot: each ratio with its interval, coloured by verdict, and what its margin forbids."""
    rows: list[LatencyEstimate] = [*gates, *shown]
    with _figure(_NARROW, 52 + 28 * len(rows), salt, left=46, bottom=42, top=6) as (axes, done):
        margins = {gate.metric: 1 + gate.margin_pct / 100 for gate in gates}
        verdicts = {gate.metric: gate.verdict for gate in gates}
        low, high = _span([1.0, *margins.values(), *(one for row in rows for one in _drawn(row))])
        for y, row in enumerate(rows):
            colour = _VERDICTS[verdicts[row.metric]] if row.metric in verdicts else _COLOUR["soft"]
            if margin := margins.get(row.metric):
                axes.fill_betweenx([y - 0.42, y + 0.42], margin, high, color=_COLOUR["bad-bg"], lw=0)
                axes.plot([margin, margin], [y - 0.42, y + 0.42], "--", color=_COLOUR["bad"], lw=1)
            bounded = row.ratio_low is not None and row.ratio_high is not None
            ends = [row.ratio_low or low, row.ratio_high or high]
            axes.plot(
                ends, [y, y], "-" if bounded else ":", color=colour, lw=2, marker="|" if bounded else ""
            )
            axes.plot([row.ratio], [y], "o" if row.metric in verdicts else "D", color=colour, ms=5)
        axes.axvline(1, color=_COLOUR["ink"], lw=1)
        axes.set_yticks(range(len(rows)), [row.metric for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        _logarithmic(axes, low, high, "x")
        axes.set_xlabel("← faster · candidate ÷ baseline · slower →")
        return done("Latency ratios with intervals and margins")


def distribution_chart(told: Sequence[Distribution], *, salt: str) -> str:
    """Empirical distribution functions of both sides' counted calls, up to the slowest half percent."""
    with _figure(_NARROW, 250, salt, left=48, bottom=40, top=26) as (axes, done):
        low, high = _span(
            [ms for one in told for ms, share in zip(one.ms, one.share, strict=True) if share <= 0.995]
        )
        for one in told:
            axes.step(
                (low, *one.ms),
                (0, *one.share),
                _DASHES[one.side],
                where="post",
                color=_COLOUR[one.side],
                lw=1.8,
                label=one.side,
            )
        for share in (0.5, 0.9):
            axes.axhline(share, color=_COLOUR["line"], lw=0.8)
        axes.set_yticks([0, 0.5, 0.9, 1], ["0", "50 %", "90 %", "100 %"])
        axes.set_ylim(0, 1.005)
        _logarithmic(axes, low, high, "x")
        axes.set_xlabel("latency, ms")
        _legend(axes)
        return done("Share of calls that took no longer, baseline and candidate")


def time_chart(line: TimeLine, *, salt: str, width: int = _NARROW) -> str:
    """The median of every block in order of time; flagged ones are crossed. Pairs between thin lines."""
    with _figure(width, 230, salt, left=52, bottom=40, top=26) as (axes, done):
        for start in line.starts:
            axes.axvline(start, color=_COLOUR["line"], lw=0.8)
        for side, marker in _MARKERS.items():
            kept = [mark for mark in line.marks if mark.side == side and not mark.flags]
            axes.plot(
                [mark.seconds for mark in kept],
                [mark.median_ms for mark in kept],
                marker,
                color=_COLOUR[side],
                mfc=_COLOUR[side] if side == "candidate" else _COLOUR["paper"],
                ms=4,
                label=side,
            )
        flagged = [mark for mark in line.marks if mark.flags]
        if flagged:
            axes.plot(
                [mark.seconds for mark in flagged],
                [mark.median_ms for mark in flagged],
                "X",
                color=_COLOUR["warn"],
                ms=6.5,
                label="flagged, not counted",
            )
        _logarithmic(axes, *_span([mark.median_ms for mark in line.marks]), "y")
        axes.set_xlabel("seconds")
        axes.set_ylabel("block median, ms")
        _legend(axes)
        return done("Median latency of every block over time")


class _Done:
    """Turns the finished figure into SVG for a page."""

    def __init__(self, figure: Figure) -> None:
        self._figure = figure

    def __call__(self, label: str) -> str:
        written = io.StringIO()
        self._figure.savefig(
            written, format="svg", transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )  # fmt: skip
        return _for_page(written.getvalue(), label)


@contextmanager
def _figure(
    width: int, height: int, salt: str, *, left: int, bottom: int, top: int
) -> Iterator[tuple[Axes, _Done]]:
    """A figure of ``width`` by ``height`` CSS pixels; margins in pixels. ``salt`` makes its ids its own."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": salt}):
        figure = Figure(figsize=(width / _INCH, height / _INCH), dpi=_INCH)
        FigureCanvasSVG(figure)
        axes = figure.add_axes(
            (left / width, bottom / height, 1 - (left + 10) / width, 1 - (bottom + top) / height)
        )
        yield axes, _Done(figure)


def _for_page(svg: str, label: str) -> str:
    """Without prolog, size, style sheet, fonts and names of groups: they would bear on the whole page."""
    box = re.search(r'viewBox="([^"]*)"', svg)
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", body).replace("xlink:href", "href")
    body = _SENTINEL.sub(lambda found: f"var(--{_VARIABLES[found[0]]})", body)
    body = re.sub(r"\n\s*", "\n", body).strip()
    return f'<svg viewBox="{box[1] if box else ""}" role="img" aria-label="{label}">\n{body}'


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(-0.03, 1.01), ncols=3, columnspacing=1.2, borderpad=0)


def _drawn(row: LatencyEstimate) -> Iterable[float]:
    return (value for value in (row.ratio_low, row.ratio, row.ratio_high) if value is not None)


def _span(values: Iterable[float]) -> tuple[float, float]:
    """The limits of a logarithmic axis that has all values, at least one percent apart, well inside."""
    seen = [value for value in values if value > 0] or [1.0]
    low, high = math.log(min(seen)), math.log(max(seen))
    pad = max((high - low) * 0.06, 0.005)
    return math.exp(low - pad), math.exp(high + pad)


def _logarithmic(axes: Axes, low: float, high: float, which: str) -> None:
    """Round values, as many as have room, whatever the range."""
    locator = (
        LogLocator(subs=(1, 2, 5), numticks=12) if high / low > 8 else MaxNLocator(5, steps=[1, 2, 5, 10])
    )
    ticks = [tick for tick in locator.tick_values(low, high) if low <= tick <= high]
    axis = axes.xaxis if which == "x" else axes.yaxis
    if which == "x":
        axes.set_xscale("log")
        axes.set_xlim(low, high)
    else:
        axes.set_yscale("log")
        axes.set_ylim(low, high)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
