"""Builds ``RuntimeResult`` of one side. Every figure is a pure function of the raw data (``domain``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeproof.contract.errors import StageFailed
from edgeproof.contract.results import AccuracyResult, RunConfig, RuntimeExtra, RuntimeResult, SystemInfo
from edgeproof.contract.samples import PairSamples, RawQuality, SideQuality, SideSamples
from edgeproof.contract.statements import MeasuredArtifact, RuntimeConfig
from edgeproof.domain import measurement
from edgeproof.domain.device_state import DeviceState
from edgeproof.domain.input_shapes import image_axes
from edgeproof.domain.sides import Side


@dataclass(frozen=True)
class Facts:
    """What both sides' results share. ``shapes`` is what was fed; ``task`` what the outputs look like."""

    config: RuntimeConfig
    pairs: Sequence[PairSamples]
    quality: RawQuality
    shapes: Mapping[str, tuple[int, ...]]
    task: str
    threads: int
    system: SystemInfo
    state: DeviceState
    timestamp: str


def build(facts: Facts, side: Side, path: Path) -> RuntimeResult:
    """Raises ``StageFailed`` (``stage_crashed``) when every block of a side was flagged."""
    config = facts.config
    artifact: MeasuredArtifact = config.baseline if side == "baseline" else config.candidate
    sides: list[SideSamples] = [getattr(pair, side) for pair in facts.pairs]
    quality = facts.quality.baseline if side == "baseline" else facts.quality.candidate
    try:
        latency = measurement.summarise(sides)
    except ValueError as error:
        raise StageFailed(
            "stage_crashed", f"{side}: every block was contaminated", fault="device", retryable=True
        ) from error
    batch, height, width = image_axes(facts.shapes)
    source: Literal["dataset", "random"] = "random" if config.dataset is None else "dataset"
    return RuntimeResult(
        schema_version="edgeproof-runtime-result-v1",
        runtime_role="runtime-result",
        model=artifact.model_name,
        backend=config.backend,
        target=config.target,
        precision=artifact.precision,
        batch=batch,
        height=height,
        width=width,
        input_shapes=dict(facts.shapes),
        mean_ms=latency.mean,
        p50_ms=latency.p50,
        p95_ms=latency.p95,
        p99_ms=latency.p99,
        latency_ms=latency,
        fps_value=measurement.fps(latency.mean, batch),
        timestamp=facts.timestamp,
        success=True,
        status="success",
        compare_key=measurement.compare_key(
            artifact.model_name, batch, height, width, artifact.precision, facts.threads
        ),
        backend_key=measurement.backend_key(config.backend, config.target),
        runtime_artifact_path=path.name,
        artifact_size_bytes=path.stat().st_size,
        peak_memory_bytes=max(one.peak_rss_bytes for one in sides),
        cold_start=measurement.cold_start(sides),
        run_config=RunConfig(
            warmup=config.plan.settle_calls,
            runs=len(sides[0].blocks[0].samples_ns),
            blocks=config.plan.blocks,
            pairs=len(facts.pairs),
            threads=facts.threads,
            mode="duet",
            task=facts.task,
            input_source=source,
        ),
        system=facts.system,
        accuracy=_accuracy(facts.quality, quality),
        extra=RuntimeExtra(
            runtime_artifact_sha256=artifact.artifact,
            source_model_sha256=artifact.source,
            input_mode=source,
            measurement="measured",
            power_mode=facts.state.power_mode,
            governor=facts.state.governor,
            max_clocks=facts.state.max_clocks,
        ),
    )


def _accuracy(quality: RawQuality, side: SideQuality) -> AccuracyResult | None:
    metrics = measurement.accuracy_metrics(quality.labels, side)
    if metrics is None:
        return None
    return AccuracyResult(task="classification", metrics=metrics, samples=quality.samples)
