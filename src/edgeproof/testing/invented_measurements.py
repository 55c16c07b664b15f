"""The numbers of a scene, as raw documents and results have them: consistent, and never measured."""

from __future__ import annotations

import random
from collections.abc import Sequence

from edgeproof.contract.canonical import round6, sha256_hex
from edgeproof.contract.results import (
    AccuracyResult,
    RunConfig,
    RuntimeExtra,
    RuntimeResult,
    SystemInfo,
)
from edgeproof.contract.samples import Block, PairSamples, RawQuality, RawSamples, SideQuality, SideSamples
from edgeproof.contract.statements import DuetPlan, MeasuredArtifact, NoiseFloor, RuntimeConfig
from edgeproof.domain.input_shapes import image_axes
from edgeproof.domain.measurement import (
    accuracy_metrics,
    backend_key,
    cold_start,
    compare_key,
    fps,
    summarise,
)
from edgeproof.domain.warmup import window_calls
from edgeproof.lab.noise import FLOORED
from edgeproof.testing.scene import NOW, SHAPES, Scene


def invented_noise(scene: Scene) -> NoiseFloor:
    return NoiseFloor(
        conditions=sha256_hex(b"conditions"),
        background=0.0,
        pairs=8,
        floor_pct={} if scene.noise_pct is None else dict.fromkeys(FLOORED, scene.noise_pct),
        measured_at=NOW,
    )


def invented_samples(scene: Scene, plan: DuetPlan) -> RawSamples:
    count = plan.calls_per_block or scene.calls
    draw = random.Random(scene.seed)
    window = window_calls(plan.warmup_calls)
    warm = (1_200_000,) * (2 * window)
    turn_ns = round((count + 2 * plan.settle_calls) * 2_000_000 * max(1.0, scene.ratio))
    restless = tuple((1 << 30) >> index for index in range(plan.warmup_windows) for _ in range(window))

    def side(scale: float, turns: Sequence[int]) -> SideSamples:
        process = scale * (1 + draw.gauss(0, scene.jitter))

        def block(turn: int) -> Block:
            calls = tuple(int(1_000_000 * process * (1 + draw.gauss(0, 0.01))) for _ in range(count))
            return Block(
                at_ns=turn * turn_ns,
                settle_ns=(1_100_000,) * plan.settle_calls,
                samples_ns=calls,
                load=0.0,
                wait=0.0,
                flags=(),
            )

        return SideSamples(
            load_ns=20_000_000,
            first_ns=3_000_000,
            warmup_ns=warm if scene.settled else restless,
            settled=scene.settled,
            blocks=tuple(block(turn) for turn in turns),
            peak_rss_bytes=80 << 20,
        )

    def pair(index: int) -> PairSamples:
        # A B B A: of every four turns the first side has the first and the last.
        begun = 2 * plan.blocks * index
        first = [begun + 2 * at + at % 2 for at in range(plan.blocks)]
        second = [begun + 2 * at + 1 - at % 2 for at in range(plan.blocks)]
        of_baseline, of_candidate = (second, first) if index % 2 else (first, second)
        return PairSamples(
            index=index,
            first="candidate" if index % 2 else "baseline",
            baseline=side(1.0, of_baseline),
            candidate=side(scene.ratio, of_candidate),
            processors=(),
        )

    return RawSamples(
        schema_version="edgeproof-samples-v1",
        unit="ns",
        pairs=tuple(pair(index) for index in range(scene.pairs)),
    )


def invented_quality(scene: Scene) -> RawQuality:
    count = scene.images
    labels = tuple(index % 10 for index in range(count))

    def predict(right: float) -> tuple[int, ...]:
        wrong = round(count * (1 - right))
        return tuple((label + 1) % 10 if index < wrong else label for index, label in enumerate(labels))

    rights = scene.accuracy or (1.0, 1.0)
    baseline, candidate = predict(rights[0]), predict(rights[1])
    classes = scene.classes or scene.accuracy is not None
    agree = [one == other for one, other in zip(baseline, candidate, strict=True)]
    return RawQuality(
        schema_version="edgeproof-quality-v1",
        samples=count,
        labels=labels if scene.accuracy else None,
        groups=None,
        baseline=SideQuality(predictions=baseline if classes else None, nonfinite=0),
        candidate=SideQuality(
            predictions=candidate if classes else None, nonfinite=scene.candidate_nonfinite
        ),
        cosine=tuple(round6(0.999 if same else 0.2) for same in agree),
        max_abs_error=tuple(round6(0.05 if same else 4.0) for same in agree),
        relative_error=tuple(round6(0.04 if same else 1.3) for same in agree),
    )


def invented_result(
    scene: Scene,
    side: MeasuredArtifact,
    config: RuntimeConfig,
    sides: tuple[SideSamples, ...],
    quality: RawQuality,
    outputs: SideQuality,
) -> RuntimeResult:
    latency = summarise(sides)
    metrics = accuracy_metrics(quality.labels, outputs)
    accuracy = (
        AccuracyResult(task="classification", metrics=metrics, samples=quality.samples) if metrics else None
    )
    shapes = config.input_shapes or _image(config)
    batch, height, width = image_axes(shapes)
    return RuntimeResult(
        schema_version="edgeproof-runtime-result-v1",
        runtime_role="runtime-result",
        model=side.model_name,
        backend=config.backend,
        target=config.target,
        precision=side.precision,
        batch=batch,
        height=height,
        width=width,
        input_shapes=shapes,
        mean_ms=latency.mean,
        p50_ms=latency.p50,
        p95_ms=latency.p95,
        p99_ms=latency.p99,
        latency_ms=latency,
        fps_value=fps(latency.mean, batch),
        timestamp=NOW,
        success=True,
        status="success",
        compare_key=compare_key(side.model_name, batch, height, width, side.precision, config.threads or 1),
        backend_key=backend_key(config.backend, config.target),
        runtime_artifact_path="model.onnx",
        artifact_size_bytes=1000,
        peak_memory_bytes=max(one.peak_rss_bytes for one in sides),
        cold_start=cold_start(sides),
        run_config=RunConfig(
            warmup=config.plan.settle_calls,
            runs=len(sides[0].blocks[0].samples_ns),
            blocks=config.plan.blocks,
            pairs=len(sides),
            threads=config.threads or 1,
            mode="duet",
            task="classification",
            input_source="random" if config.dataset is None else "dataset",
        ),
        system=SystemInfo(
            os="Linux",
            python="3.11",
            machine="x86_64",
            cpu_model="invented",
            cpu_count_logical=2,
            memory_bytes=1 << 30,
        ),
        accuracy=accuracy,
        extra=RuntimeExtra(
            runtime_artifact_sha256=side.artifact,
            source_model_sha256=side.source,
            input_mode="random" if config.dataset is None else "dataset",
            measurement=scene.numbers,
        ),
    )


def _image(config: RuntimeConfig) -> dict[str, tuple[int, ...]]:
    """A scene's image, with the lengths that were asked for."""
    ((name, (batch, channels, height, width)),) = SHAPES.items()
    return {name: (config.batch or batch, channels, config.height or height, config.width or width)}
