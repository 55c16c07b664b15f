"""The device's noise floor: what the judgement shows where there is no difference, from equal pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from edgeproof.contract.canonical import round6
from edgeproof.contract.comparison import LatencyComparison
from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import LatencyMetric
from edgeproof.contract.samples import PairSamples
from edgeproof.contract.statements import DuetPlan
from edgeproof.lab.gates import compare_latency
from edgeproof.lab.looks import gates_at

CONFIDENCE: Final = 0.95
FLOORED: Final[tuple[LatencyMetric, ...]] = ("p50", "p90")
"""The metrics whose floor is measured."""


def noise_floor(pairs: Sequence[PairSamples]) -> dict[str, float]:
    """Per metric, how far the 95 % interval of the ratio reaches from 1, in percent.

    ``pairs`` are of a model against itself. A metric for which they are too few has no floor.
    """
    floors: dict[str, float] = {}
    for metric in FLOORED:
        try:
            told = compare_latency(pairs, metric, 1.0, CONFIDENCE)
        except Refused:
            continue
        if told.ratio_low is not None and told.ratio_high is not None:
            floors[metric] = round6(100 * (max(told.ratio_high, 1 / told.ratio_low) - 1))
    return floors


class TightGate(NamedTuple):
    """A gate whose margin is tighter than the floor supports; ``stands``: its verdict does not rest on it.

    A verdict stands if the whole interval is further from the margin than the floor, as that of a
    candidate that is twice as fast.
    """

    metric: LatencyMetric
    margin_pct: float
    floor_pct: float
    stands: bool

    def words(self) -> str:
        """A sentence for people."""
        so = (
            "but the whole interval lies further from it than that"
            if self.stands
            else "so it cannot support it"
        )
        return (
            f"this device's noise floor for {self.metric} is {self.floor_pct:.3g} %, "
            f"wider than the {self.margin_pct:g} % margin, {so}"
        )


def supports(floors: Mapping[str, float], pairs: Sequence[PairSamples], plan: DuetPlan) -> bool:
    """Whether no gate's verdict rests on a margin below its floor. Raises as ``looks.decided``."""
    return all(gate.stands for gate in too_tight(gates_at(pairs, plan), floors))


def too_tight(latency: Sequence[LatencyComparison], floors: Mapping[str, float]) -> Iterator[TightGate]:
    """The gates whose margin is below the floor; one that is not decidable says nothing anyway."""
    for gate in latency:
        floor = floors.get(gate.metric)
        if floor is not None and gate.margin_pct < floor and gate.verdict != "not_decidable":
            yield TightGate(gate.metric, gate.margin_pct, floor, _clear_of_margin(gate, 1 + floor / 100))


def without_floor(latency: Sequence[LatencyComparison], floors: Mapping[str, float]) -> Iterator[str]:
    """A sentence for each gate whose floor should have been found and was not: no margin is known to hold.

    So it is where the baseline's own pairs had too few blocks that were not contaminated.
    """
    for gate in latency:
        if gate.metric in FLOORED and gate.metric not in floors and gate.verdict != "not_decidable":
            yield f"this device's noise floor for {gate.metric} could not be found, so it supports no margin"


def _clear_of_margin(gate: LatencyComparison, factor: float) -> bool:
    """Whether the interval, wider by the floor at the margin's side, still lies wholly on that side."""
    if gate.ratio_low is None or gate.ratio_high is None:
        return False
    bound = 1 + gate.margin_pct / 100
    return gate.ratio_high * factor <= bound or gate.ratio_low > bound * factor
