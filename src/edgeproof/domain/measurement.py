"""Arithmetic on samples that runtime and lab must do alike: percentiles, summaries, keys.

Percentiles are by linear interpolation between order statistics (Hyndman and Fan type 7, NumPy's
``linear``). Samples are integer nanoseconds, summaries milliseconds to 6 significant digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeproof.contract.canonical import round6
from edgeproof.contract.results import ColdStart, LatencySummary
from edgeproof.contract.samples import SideQuality, SideSamples

NS_PER_MS = 1_000_000
NOT_FINITE = -1
"""The prediction for a sample whose output is not finite: no class at all, so never correct."""


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """The ``fraction`` quantile (0 to 1) of values that are already sorted. Raises on an empty one."""
    if not ordered:
        raise ValueError("no samples")
    position = (len(ordered) - 1) * fraction
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def counted(side: SideSamples) -> list[int]:
    """The samples of a process that count: those of blocks without a flag, in order of time."""
    return [value for block in side.blocks if not block.flags for value in block.samples_ns]


def summarise(sides: Sequence[SideSamples]) -> LatencySummary:
    """Summary over all counted calls of one side's processes. Raises ``ValueError`` without any."""
    ordered = sorted(value for side in sides for value in counted(side))
    if not ordered:
        raise ValueError("no counted samples")
    mean = math.fsum(ordered) / len(ordered)
    variance = math.fsum((value - mean) ** 2 for value in ordered) / max(len(ordered) - 1, 1)

    def ms(value: float) -> float:
        return round6(value / NS_PER_MS)

    return LatencySummary(
        mean=ms(mean),
        min=ms(ordered[0]),
        max=ms(ordered[-1]),
        std=ms(math.sqrt(variance)),
        p50=ms(percentile(ordered, 0.50)),
        p90=ms(percentile(ordered, 0.90)),
        p95=ms(percentile(ordered, 0.95)),
        p99=ms(percentile(ordered, 0.99)),
        samples=len(ordered),
    )


def fps(mean_ms: float, batch: int | None) -> float:
    """Samples per second at the mean latency; a model without a batch axis counts as one sample."""
    return round6(1000 / mean_ms * (batch or 1))


def cold_start(sides: Sequence[SideSamples]) -> ColdStart:
    """Medians over processes of the time to load and of the first inference."""

    def median_ms(values: list[int]) -> float:
        return round6(percentile(sorted(values), 0.5) / NS_PER_MS)

    return ColdStart(
        load_ms=median_ms([side.load_ns for side in sides]),
        first_inference_ms=median_ms([side.first_ns for side in sides]),
    )


def accuracy_metrics(labels: Sequence[int] | None, outputs: SideQuality) -> dict[str, float] | None:
    """``top1_accuracy`` as a fraction, or None without labels or class scores."""
    if labels is None or outputs.predictions is None:
        return None
    right = sum(label == predicted for label, predicted in zip(labels, outputs.predictions, strict=True))
    return {"top1_accuracy": round6(right / len(labels))}


def compare_key(
    model: str, batch: int | None, height: int | None, width: int | None, precision: str, threads: int
) -> str:
    """Which results may be compared at all; threads are part of it (DESIGN 14)."""

    def axis(value: int | None) -> str:
        return "x" if value is None else str(value)

    return f"{model}__b{axis(batch)}__h{axis(height)}w{axis(width)}__{precision}__t{threads}"


def backend_key(backend: str, target: str) -> str:
    return f"{backend}__{target}"
