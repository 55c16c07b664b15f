"""The device's noise floor: what the judgement shows where there is no difference, from equal pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median_high
from typing import Final, NamedTuple, get_args

from edgeproof.contract.canonical import round6
from edgeproof.contract.comparison import LatencyComparison
from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import LatencyMetric
from edgeproof.contract.samples import PairSamples
from edgeproof.contract.statements import DuetPlan, NoiseFloor
from edgeproof.domain.contamination import SAME_LOAD, alike
from edgeproof.lab.circumstances import measured_under
from edgeproof.lab.gates import estimate_latency
from edgeproof.lab.looks import gates_at

CONFIDENCE: Final = 0.95
DRAWS: Final = 3
"""So many draws of a floor are taken together: the latest under like conditions and load."""
GOOD_FOR: Final = timedelta(days=1)
"""An older draw counts no more, whatever it is."""
FLOORED: Final[tuple[LatencyMetric, ...]] = get_args(LatencyMetric)
"""The metrics whose floor is measured: all that a policy can gate."""


def noise_floor(pairs: Sequence[PairSamples]) -> dict[str, float]:
    """Per metric, how far the 95 % interval of the ratio reaches from 1, in percent.

    ``pairs`` are of a model against itself. A metric for which they are too few has no floor. Read round by
    round, as what passes a gate is: a floor is there to hold that up.
    """
    floors: dict[str, float] = {}
    for metric in FLOORED:
        try:
            told = estimate_latency(pairs, metric, CONFIDENCE)
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


def usable_floor(
    remembered: Sequence[NoiseFloor],
    conditions: str,
    pairs: Sequence[PairSamples],
    plan: DuetPlan,
    *,
    now: datetime,
) -> NoiseFloor | None:
    """The remembered floor that can vouch for ``pairs``, None if the device has to be asked again.

    Of those found lately (``GOOD_FOR``) under these conditions and no less load, the ones under the least,
    taken together. Not if a verdict rests on a margin below it: few pairs tell a floor
    badly, and another draw is then taken together with these (``together``), in place of none. Raises as
    ``looks.decided``.
    """
    background = measured_under(pairs).background
    known = [
        one
        for one in _lately(remembered, now)
        if one.conditions == conditions and not too_quiet(one, background)
    ]
    nearest = min(known, key=lambda one: one.background, default=None)
    if nearest is None:
        return None
    told = together([one for one in known if is_like(one, nearest)])
    return told if supports(told.floor_pct, pairs, plan) else None


def together(draws: Sequence[NoiseFloor]) -> NoiseFloor:
    """One floor of several draws under like conditions and load: of each metric the median, of two the wider.

    So none is chosen for being narrow, and no single draw for being lucky.
    """
    metrics = set.intersection(*(set(one.floor_pct) for one in draws))
    return NoiseFloor(
        conditions=draws[0].conditions,
        background=min(one.background for one in draws),
        pairs=sum(one.pairs for one in draws),
        floor_pct={name: median_high([one.floor_pct[name] for one in draws]) for name in sorted(metrics)},
        measured_at=max(one.measured_at for one in draws),
    )


def with_draw(remembered: Sequence[NoiseFloor], fresh: NoiseFloor) -> NoiseFloor:
    """``fresh`` taken together with the latest draws that are like it and no older than ``GOOD_FOR``; by
    itself if it has no figures."""
    like = [one for one in _lately(remembered, _time_of(fresh)) if is_like(one, fresh)][1 - DRAWS :]
    return together([*like, fresh]) if fresh.floor_pct else fresh


def _lately(draws: Sequence[NoiseFloor], now: datetime) -> list[NoiseFloor]:
    return [one for one in draws if now - _time_of(one) <= GOOD_FOR]


def is_like(one: NoiseFloor, other: NoiseFloor) -> bool:
    """Whether both were found under the same conditions and about the same load."""
    return one.conditions == other.conditions and alike(one.background, other.background, SAME_LOAD)


def _time_of(floor: NoiseFloor) -> datetime:
    return datetime.fromisoformat(floor.measured_at)


def supports(floors: Mapping[str, float], pairs: Sequence[PairSamples], plan: DuetPlan) -> bool:
    """Whether every gate has a floor, and none's verdict rests on a margin below it.

    Raises as ``looks.decided``.
    """
    gates = gates_at(pairs, plan)
    return all(gate.stands for gate in too_tight(gates, floors)) and not any(without_floor(gates, floors))


def too_quiet(floor: NoiseFloor, background: float) -> bool:
    """Whether the floor was found under less load than ``background`` (a share of a block's time).

    A floor from a busier device is only wider than it need be.
    """
    return background > floor.background and not alike(background, floor.background, SAME_LOAD)


def floors_under(floor: NoiseFloor, background: float, pairs: Sequence[PairSamples]) -> dict[str, float]:
    """The floors that hold for ``pairs``, percent: one that is ``too_quiet`` is widened by their own spread.

    What equal sides show lies within twice the half-width of a 95 % interval: so far off may the estimate be,
    and so far does the interval reach from there. The half-width of ``pairs`` is one under this load. A
    metric without an interval has no floor.
    """
    if not too_quiet(floor, background):
        return dict(floor.floor_pct)
    widened: dict[str, float] = {}
    for metric in FLOORED:
        if metric not in floor.floor_pct:
            continue
        told = estimate_latency(pairs, metric, CONFIDENCE)
        if told.ratio_low is not None and told.ratio_high is not None:
            half = max(told.ratio_high / told.ratio, told.ratio / told.ratio_low)
            widened[metric] = round6(max(floor.floor_pct[metric], 100 * (half**2 - 1)))
    return widened


def widened_words(floor: NoiseFloor, background: float) -> Iterator[str]:
    """A sentence if the floor is ``too_quiet``."""
    if too_quiet(floor, background):
        yield (
            "this device's noise floor was found while blocks waited "
            f"{100 * floor.background:.2g} % of their time for a processor, here they waited "
            f"{100 * background:.2g} %: it is widened to what the spread of these pairs allows"
        )


def too_tight(latency: Sequence[LatencyComparison], floors: Mapping[str, float]) -> Iterator[TightGate]:
    """The gates whose margin is below the floor; one that is not decidable says nothing anyway."""
    for gate in latency:
        floor = floors.get(gate.metric)
        if floor is not None and gate.margin_pct < floor and gate.verdict != "not_decidable":
            yield TightGate(gate.metric, gate.margin_pct, floor, _clear_of_margin(gate, 1 + floor / 100))


def without_floor(latency: Sequence[LatencyComparison], floors: Mapping[str, float]) -> Iterator[str]:
    """A sentence for each gate whose floor could not be found: no margin is known to hold.

    So it is where the baseline's own pairs had too few blocks that were not contaminated.
    """
    for gate in latency:
        if gate.metric not in floors and gate.verdict != "not_decidable":
            yield f"this device's noise floor for {gate.metric} could not be found, so it supports no margin"


def _clear_of_margin(gate: LatencyComparison, factor: float) -> bool:
    """Whether the interval, wider by the floor at the margin's side, still lies wholly on that side."""
    if gate.ratio_low is None or gate.ratio_high is None:
        return False
    bound = 1 + gate.margin_pct / 100
    return gate.ratio_high * factor <= bound or gate.ratio_low > bound * factor
