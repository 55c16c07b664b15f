"""The metric rows of a runner's statement: pure, and no number that the statement does not have.

A row's percentiles are one side's, over all its counted calls. Nothing here certifies them, and
``JobMetrics`` says so: that takes the blocks of both sides (``percentiles``).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from edgeproof.contract.canonical import round6
from edgeproof.contract.results import RuntimeResult
from edgeproof.contract.run_metrics import HardwareMetrics, ModelMetrics
from edgeproof.contract.statements import Build, Measurement

CPU: Final = "cpu"
_SCORES: Final = ("top1_accuracy",)
"""Which of a task's metrics is its score; the first that is there."""


def rows_of_build(run_id: str, build: Build, artifact: str) -> tuple[ModelMetrics, ...]:
    """The model that was built. A build says nothing of the device's hardware, so there is no row of that."""
    config = build.buildDefinition.externalParameters.config
    inside = build.buildDefinition.internalParameters
    told = build.runDetails.metadata
    sizes = [one.size_bytes for one in inside.metadata.artifacts if one.sha256 == artifact]
    return (
        ModelMetrics(
            run_id=run_id,
            row_key=config.role,
            model_id=artifact,
            model_name=config.source_name,
            precision=inside.manifest.artifact.precision,
            backend=config.backend,
            target=config.target,
            basis="measured",
            wall_seconds=_seconds(told.startedOn, told.finishedOn),
            artifact_size_bytes=sizes[0] if sizes else None,
        ),
    )


def rows_of_measurement(
    run_id: str, measured: Measurement
) -> tuple[tuple[ModelMetrics, ...], tuple[HardwareMetrics, ...]]:
    """Both sides, and the processor they ran on."""
    before, after = measured.environment_before, measured.environment_after
    wall = _seconds(before.at, after.at)
    models = tuple(
        _side(run_id, side, result, wall)
        for side, result in (("baseline", measured.baseline), ("candidate", measured.candidate))
    )
    candidate = measured.candidate
    throttled = (before.throttle_count, after.throttle_count)
    hardware = HardwareMetrics(
        run_id=run_id,
        row_key=CPU,
        device_kind=CPU,
        device_name=candidate.system.cpu_model,
        basis=candidate.extra.measurement,
        memory_bytes=candidate.system.memory_bytes,
        peak_memory_bytes=max(measured.baseline.peak_memory_bytes, candidate.peak_memory_bytes),
        temperature_c=after.temperature_c,
        throttle_events=(
            throttled[1] - throttled[0] if throttled[0] is not None and throttled[1] is not None else None
        ),
        wall_seconds=wall,
    )
    return models, (hardware,)


def _side(run_id: str, side: str, result: RuntimeResult, wall: float | None) -> ModelMetrics:
    metrics = result.accuracy.metrics if result.accuracy else {}
    metric = next((name for name in _SCORES if name in metrics), None)
    return ModelMetrics(
        run_id=run_id,
        row_key=side,
        model_id=result.extra.runtime_artifact_sha256,
        model_name=result.model,
        precision=result.precision,
        backend=result.backend,
        target=result.target,
        basis=result.extra.measurement,
        score=None if metric is None else metrics[metric],
        score_metric=metric,
        mean_ms=result.mean_ms,
        p50_ms=result.p50_ms,
        p95_ms=result.p95_ms,
        p99_ms=result.p99_ms,
        samples=result.latency_ms.samples,
        samples_per_second=result.fps_value,
        wall_seconds=wall,
        peak_memory_bytes=result.peak_memory_bytes,
        artifact_size_bytes=result.artifact_size_bytes,
    )


def _seconds(start: str, end: str) -> float | None:
    """By the device's own clock; None when it was set back meanwhile, or the text is no time."""
    try:
        passed = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    except ValueError:
        return None
    return round6(passed) if passed >= 0 else None
