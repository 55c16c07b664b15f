"""Whether a measurement's numbers are those of its raw data, and what was measured is what was asked for.

Nothing here is judged. What cannot be recomputed from the raw data (artifact size, system facts, the
environment) is the runner's word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import LatencyMetric
from edgeproof.contract.results import RuntimeResult
from edgeproof.contract.samples import RawQuality, RawSamples, SideQuality, SideSamples
from edgeproof.contract.statements import MeasuredArtifact, Measurement, NoiseFloor, RuntimeConfig
from edgeproof.domain.device_state import device_state
from edgeproof.domain.input_shapes import image_axes
from edgeproof.domain.measurement import (
    NOT_FINITE,
    accuracy_metrics,
    backend_key,
    cold_start,
    compare_key,
    fps,
    summarise,
)
from edgeproof.lab.protocol import SIDES, Side, check_protocol, demand


def check_results(measured: Measurement, samples: RawSamples, quality: RawQuality) -> None:
    """Raises ``Refused`` (``chain_broken``) naming the side and the number that differ."""
    check_protocol(measured.config.plan, samples.pairs, measured.baseline.run_config.threads)
    _check_noise(measured.noise)
    _check_quality(measured.config, quality)
    for side in SIDES:
        _check_side(side, measured, tuple(getattr(pair, side) for pair in samples.pairs), quality)


def _check_noise(noise: NoiseFloor) -> None:
    demand(
        set(noise.floor_pct) <= set(get_args(LatencyMetric))
        and all(floor >= 0 for floor in noise.floor_pct.values())
        and 0 <= noise.background <= 1
        and (noise.pairs > 0 or not noise.floor_pct),
        "the noise floor is impossible",
    )


def _check_side(
    name: Side, measured: Measurement, sides: tuple[SideSamples, ...], quality: RawQuality
) -> None:
    config = measured.config
    result: RuntimeResult = getattr(measured, name)
    told: MeasuredArtifact = getattr(config, name)
    outputs: SideQuality = getattr(quality, name)
    extra, state = result.extra, device_state(measured.environment_before, measured.environment_after)
    try:
        summary = summarise(sides)
    except ValueError as error:
        raise Refused("chain_broken", f"the {name} has no counted samples") from error
    accuracy = (result.accuracy.metrics, result.accuracy.samples) if result.accuracy else None
    metrics = accuracy_metrics(quality.labels, outputs)
    ran = result.run_config
    shape = (result.batch, result.height, result.width)
    key = compare_key(result.model, result.batch, result.height, result.width, result.precision, ran.threads)
    facts: dict[str, tuple[object, object]] = {
        "artifact": (extra.runtime_artifact_sha256, told.artifact),
        "source model": (extra.source_model_sha256, told.source),
        "state of the device": ((extra.power_mode, extra.governor, extra.max_clocks), state),
        "backend": ((result.backend, result.target), (config.backend, config.target)),
        "backend key": (result.backend_key, backend_key(config.backend, config.target)),
        "latency summary": (result.latency_ms, summary),
        "mean": (result.mean_ms, summary.mean),
        "p50": (result.p50_ms, summary.p50),
        "p95": (result.p95_ms, summary.p95),
        "p99": (result.p99_ms, summary.p99),
        "frame rate": (result.fps_value, fps(summary.mean, result.batch)),
        "cold start": (result.cold_start, cold_start(sides)),
        "peak memory": (result.peak_memory_bytes, max(side.peak_rss_bytes for side in sides)),
        "number of pairs": (ran.pairs, len(sides)),
        "number of blocks": (ran.blocks, config.plan.blocks),
        "number of calls": (ran.runs, len(sides[0].blocks[0].samples_ns)),
        "number of threads": (ran.threads, config.threads or ran.threads),
        "accuracy": (accuracy, metrics and (metrics, quality.samples)),
        "compare key": (result.compare_key, key),
        "shape": (shape, image_axes(result.input_shapes)),
        "model": (result.model, told.model_name),
        "precision": (result.precision, told.precision),
        "input": ({ran.input_source, extra.input_mode}, {_input(config)}),
        "number of settling calls": (ran.warmup, config.plan.settle_calls),
    }
    for what, (stated, recomputed) in facts.items():
        demand(stated == recomputed, f"the {name}'s {what} is not that of the raw data")
    demand(_is_fed_as_asked(result.input_shapes, config), f"the {name} was fed another shape than asked for")


def _is_fed_as_asked(shapes: Mapping[str, tuple[int, ...]], config: RuntimeConfig) -> bool:
    """Named shapes as they were named; of the other inputs one at least has each length that was asked for,
    where it has such an axis (``domain.input_shapes.resolve``)."""
    if any(shapes.get(name) != shape for name, shape in config.input_shapes.items()):
        return False
    others = [image_axes({name: shape}) for name, shape in shapes.items() if name not in config.input_shapes]
    asked = (config.batch, config.height, config.width)
    had = [{axes[at] for axes in others} - {None} for at in range(len(asked))]
    return all(
        length is None or not found or length in found for length, found in zip(asked, had, strict=True)
    )


def _input(config: RuntimeConfig) -> str:
    return "random" if config.dataset is None else "dataset"


def _check_quality(config: RuntimeConfig, quality: RawQuality) -> None:
    count = quality.samples
    demand(count > 0, "no output was looked at")
    for side in (quality.baseline, quality.candidate):
        demand(side.predictions is None or len(side.predictions) == count, "predictions are missing")
        unknown = 0 if side.predictions is None else side.predictions.count(NOT_FINITE)
        demand(unknown <= side.nonfinite <= count, "the count of non-finite outputs is impossible")
    for name, values in (("labels", quality.labels), ("groups", quality.groups)):
        demand(values is None or len(values) == count, f"{name} are missing")
    agreements = (quality.cosine, quality.max_abs_error, quality.relative_error)
    demand(all(len(one) == count for one in agreements), "agreements are missing")
    demand(min(quality.relative_error) >= 0, "a relative error is negative")
    # A label that is no class would make an output that is not finite a right answer.
    demand(min(quality.labels or (0,)) >= 0, "a label is negative")
    demand(config.dataset is not None or quality.labels is None, "labels without a data set")
