"""Whether a measurement's numbers are those of its raw data, and what was measured is what was asked for.

Nothing here is judged. What cannot be recomputed from the raw data (artifact size, system facts, the
environment) is the runner's word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import LatencyMetric
from edgeproof.contract.results import RuntimeExtra, RuntimeResult
from edgeproof.contract.samples import RawQuality, RawSamples, SideQuality, SideSamples
from edgeproof.contract.statements import MeasuredArtifact, Measurement, NoiseFloor, RuntimeConfig
from edgeproof.domain.device_state import device_state
from edgeproof.domain.input_shapes import IMAGE_RANK, image_axes
from edgeproof.domain.measurement import (
    NOT_FINITE,
    accuracy_metrics,
    backend_key,
    cold_start,
    compare_key,
    fps,
    summarise,
)
from edgeproof.domain.sides import SIDES, Side
from edgeproof.lab.protocol import check_protocol, demand


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
    key = compare_key(result.model, result.batch, result.height, result.width, result.precision, ran.threads)
    facts: dict[str, tuple[object, object]] = {
        "artifact": (extra.runtime_artifact_sha256, told.artifact),
        "source model": (extra.source_model_sha256, told.source),
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
        "model": (result.model, told.model_name),
        "precision": (result.precision, told.precision),
        "input": ({ran.input_source, extra.input_mode}, {_input(config)}),
        "number of settling calls": (ran.warmup, config.plan.settle_calls),
    }
    for what, (stated, recomputed) in facts.items():
        demand(stated == recomputed, f"the {name}'s {what} is not that of the raw data")
    demand(_is_shape_of(result), f"the {name}'s shape is not that of its inputs")
    demand(
        all(one in (None, held) for one, held in zip(_told_state(extra), state, strict=True)),
        f"the {name}'s state of the device is not that of the environment",
    )
    demand(_is_fed_as_asked(result.input_shapes, config), f"the {name} was fed another shape than asked for")


def _told_state(extra: RuntimeExtra) -> tuple[str | None, str | None, str | None]:
    """In the order of ``DeviceState``; results of earlier runners tell none of it."""
    return extra.power_mode, extra.governor, extra.max_clocks


def _is_shape_of(result: RuntimeResult) -> bool:
    """Whether batch, height and width are those of one of the inputs, of an image if there is one. Which is
    the first the runner alone knows: signed documents sort their names."""
    shapes = [shape for shape in result.input_shapes.values() if shape]
    images = [shape for shape in shapes if len(shape) == IMAGE_RANK]
    told = (result.batch, result.height, result.width)
    return told in [image_axes({"": shape}) for shape in images or shapes or [()]]


def _is_fed_as_asked(shapes: Mapping[str, tuple[int, ...]], config: RuntimeConfig) -> bool:
    """Named shapes as they were named; without such, each length that was asked for stands on such an axis of
    some input, if there is one (``domain.input_shapes.resolve``). What the model declared, by which that
    tells the two layouts of an image apart, is not in the evidence: either will do."""
    if any(shapes.get(name) != shape for name, shape in config.input_shapes.items()):
        return False
    if config.input_shapes:
        return True  # a named input meets any length, so that nothing is demanded of the others
    images = [shape for shape in shapes.values() if len(shape) == IMAGE_RANK]
    had: list[set[int]] = [
        {shape[0] for shape in shapes.values() if shape},
        {length for shape in images for length in shape[1:3]},
        {length for shape in images for length in shape[2:4]},
    ]
    asked = (config.batch, config.height, config.width)
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
