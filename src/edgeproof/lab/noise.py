"""The device's noise floor: what the judgement shows where there is no difference, from equal pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from edgeproof.contract.canonical import round6
from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import LatencyGate, LatencyMetric
from edgeproof.contract.samples import PairSamples
from edgeproof.lab.gates import compare_latency

CONFIDENCE: Final = 0.95


def noise_floor(pairs: Sequence[PairSamples]) -> dict[str, float]:
    """Per metric, how far the 95 % interval of the ratio reaches from 1, in percent.

    ``pairs`` are of a model against itself. A metric for which they are too few has no floor.
    """
    metrics: tuple[LatencyMetric, ...] = ("p50", "p90")
    floors: dict[str, float] = {}
    for metric in metrics:
        try:
            told = compare_latency(pairs, metric, 1.0, CONFIDENCE)
        except Refused:
            continue
        if told.ratio_low is not None and told.ratio_high is not None:
            floors[metric] = round6(100 * (max(told.ratio_high, 1 / told.ratio_low) - 1))
    return floors


def too_tight(gates: Sequence[LatencyGate], floors: Mapping[str, float]) -> Iterator[str]:
    """A sentence for each gate whose margin is tighter than the floor supports."""
    for gate in gates:
        floor = floors.get(gate.metric)
        if floor is not None and gate.margin_pct < floor:
            yield (
                f"this device's noise floor for {gate.metric} is {floor:.3g} %, "
                f"so it cannot support the {gate.margin_pct:g} % margin"
            )
