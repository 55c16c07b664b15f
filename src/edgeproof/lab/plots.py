"""Where the marks of the interval plot go: one strip a latency gate, ratios on one logarithmic axis.

Geometry only, in units of the SVG's view box; what it looks like is the template's and the style sheet's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgeproof.contract.comparison import LatencyComparison

WIDTH: Final = 480
HEIGHT: Final = 24
_LEFT, _RIGHT = 2, 478
_STEPS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 25, 50, 100)
_MOST_TICKS = 8
_LEAST_GAP = 44


@dataclass(frozen=True)
class Tick:
    x: float
    text: str


@dataclass(frozen=True)
class Row:
    """Where on the axis; ``low`` and ``high`` are None where the interval is unbounded."""

    gate: LatencyComparison
    point: float
    low: float | None
    high: float | None
    margin: float


@dataclass(frozen=True)
class IntervalPlot:
    """``row`` is the height of a strip, ``left`` and ``right`` the axis's ends, ``one`` where ratio 1 is."""

    width: int
    row: int
    left: int
    right: int
    one: float
    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]


def interval_plot(gates: Sequence[LatencyComparison]) -> IntervalPlot:
    """The plot of a comparison's gates; ratio 1 and every margin are always in view."""
    seen = [1.0]
    for gate in gates:
        limits = (gate.ratio_low, gate.ratio_high, gate.ratio, _margin(gate))
        seen += [value for value in limits if value is not None and value > 0]
    lowest, highest = math.log(min(seen)), math.log(max(seen))
    pad = max((highest - lowest) * 0.07, 0.004)
    lowest, highest = lowest - pad, highest + pad

    def at(ratio: float) -> float:
        share = (math.log(ratio) - lowest) / (highest - lowest)
        return round(_LEFT + share * (_RIGHT - _LEFT), 1)

    rows = tuple(
        Row(
            gate=gate,
            point=at(gate.ratio),
            low=None if gate.ratio_low is None else at(gate.ratio_low),
            high=None if gate.ratio_high is None else at(gate.ratio_high),
            margin=at(_margin(gate)),
        )
        for gate in gates
    )
    return IntervalPlot(
        width=WIDTH,
        row=HEIGHT,
        left=_LEFT,
        right=_RIGHT,
        one=at(1.0),
        rows=rows,
        ticks=_ticks([(ratio, at(ratio)) for ratio in _round_ratios(math.exp(lowest), math.exp(highest))]),
    )


def _margin(gate: LatencyComparison) -> float:
    return 1 + gate.margin_pct / 100


def _round_ratios(low: float, high: float) -> list[float]:
    """Evenly spaced round ratios in view, 1 among them, most important first."""
    for step in _STEPS:
        first, last = math.ceil((low - 1) / step), math.floor((high - 1) / step)
        if last - first < _MOST_TICKS:
            break
    ratios = [1 + step * index for index in range(first, last + 1)]
    return sorted(ratios, key=lambda ratio: (ratio != 1, ratio))


def _ticks(places: Sequence[tuple[float, float]]) -> tuple[Tick, ...]:
    """Those that leave room for their labels."""
    kept: list[Tick] = []
    for ratio, x in places:
        if all(abs(x - tick.x) >= _LEAST_GAP for tick in kept) and _LEFT + 14 <= x <= _RIGHT - 14:
            kept.append(Tick(x, f"{ratio:.4g}"))
    return tuple(kept)
