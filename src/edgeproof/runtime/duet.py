"""The stage ``runtime``: one duet from artifacts to results, under the host's measuring lock.

Models and data sets are opened in child processes only. What is not done here: fetching and hashing the
inputs, isolation and time limits (the runner's), judging (the lab's).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from edgeproof.contract.errors import StageFailed
from edgeproof.contract.jobs import Progress
from edgeproof.contract.results import RuntimeResult
from edgeproof.contract.samples import PairSamples, RawQuality, RawSamples
from edgeproof.contract.statements import EnvironmentSnapshot, RuntimeConfig
from edgeproof.domain.device_state import device_state
from edgeproof.runtime import backends, environment, pairs, result
from edgeproof.runtime.child import Child, children
from edgeproof.runtime.host_lock import host_lock

QUALITY_MODULE: Final = "edgeproof.runtime.quality"


@dataclass(frozen=True)
class RuntimeInputs:
    """Local files, as the config's digests name them."""

    baseline: Path
    candidate: Path
    dataset: Path | None


@dataclass(frozen=True)
class DuetOutcome:
    """What a measurement statement is made of; the two raw documents travel as artifacts.

    ``twins`` are pairs of the baseline against itself, for the noise floor under ``conditions`` (a digest);
    none where it was known.
    """

    baseline: RuntimeResult
    candidate: RuntimeResult
    samples: RawSamples
    quality: RawQuality
    twins: tuple[PairSamples, ...]
    conditions: str
    environment_before: EnvironmentSnapshot
    environment_after: EnvironmentSnapshot


class _Assessed(msgspec.Struct, frozen=True):
    quality: RawQuality
    shapes: dict[str, tuple[int, ...]]
    feeds: dict[str, str]
    task: str


async def measure(
    config: RuntimeConfig,
    inputs: RuntimeInputs,
    workspace: Path,
    *,
    enough: Callable[[Sequence[PairSamples]], bool],
    on_progress: Callable[[Progress], None],
    noise_known: Callable[[str, Sequence[PairSamples]], bool] = lambda _conditions, _pairs: True,
) -> DuetOutcome:
    """Run the plan of ``config``; ``enough`` is asked at each planned look, ``workspace`` is ours.

    Where ``noise_known`` says that the noise floor under these conditions is not, or not well enough for
    these pairs, the baseline is then played against itself, up to the first planned look.

    Raises ``StageFailed``: ``backend_missing``, ``unsupported_opset``, ``unsupported_operator``,
    ``model_invalid``, ``model_not_onnx``, ``shape_mismatch``, ``dynamic_dimension``, ``dataset_invalid``,
    ``dataset_unsafe``, ``incomparable_outputs``, ``model_output_not_finite``, ``memory_limit``,
    ``disk_full``, ``stage_crashed``. However it ends, cancelled included, no process is left.
    """
    backend = backends.backend(config.backend)
    if config.target not in backend.targets:
        raise StageFailed(
            "backend_missing", f"{config.backend} has no target {config.target}", fault="device"
        )
    reference = backends.reference(config.backend)
    threads = config.threads or environment.physical_cores()

    def waiting() -> None:
        total = max(config.plan.looks)
        on_progress(Progress(completed=0, total=total, unit="pairs", message="waiting for the device"))

    async with host_lock(on_wait=waiting):
        before = environment.snapshot(backend.versions())
        assessed = await _assess(config, inputs, workspace, reference, threads, on_progress)
        stage = pairs.Stage(
            backend=reference,
            workspace=workspace,
            artifacts={"baseline": inputs.baseline.resolve(), "candidate": inputs.candidate.resolve()},
            feeds=assessed.feeds,
            threads=threads,
            plan=config.plan,
            seed=_seed(config),
        )
        played = await pairs.play(stage, enough=enough, on_progress=on_progress)
        conditions = environment.conditions(
            config.backend, config.target, threads, backend.versions(), _typical_call(played)
        )
        twins: tuple[PairSamples, ...] = ()
        if not noise_known(conditions, played):
            twins = await _twins(stage, config, played, on_progress)
        after = environment.snapshot(backend.versions())
    facts = result.Facts(
        config=config,
        pairs=played,
        quality=assessed.quality,
        shapes=assessed.shapes,
        task=assessed.task,
        threads=threads,
        system=environment.system_info(),
        state=device_state(before, after),
        timestamp=after.at,
    )
    return DuetOutcome(
        baseline=result.build(facts, "baseline", inputs.baseline),
        candidate=result.build(facts, "candidate", inputs.candidate),
        samples=RawSamples(schema_version="edgeproof-samples-v1", unit="ns", pairs=played),
        quality=assessed.quality,
        twins=twins,
        conditions=conditions,
        environment_before=before,
        environment_after=after,
    )


def _typical_call(played: Sequence[PairSamples]) -> float:
    """Nanoseconds of the baseline, all blocks alike: a median does not mind a contaminated one."""
    return median(call for pair in played for block in pair.baseline.blocks for call in block.samples_ns)


async def _twins(
    stage: pairs.Stage,
    config: RuntimeConfig,
    played: tuple[PairSamples, ...],
    on_progress: Callable[[Progress], None],
) -> tuple[PairSamples, ...]:
    """Pairs of the baseline against itself; the duet's own, where both sides are one artifact."""
    if config.baseline.artifact == config.candidate.artifact:
        return played

    def report(progress: Progress) -> None:
        on_progress(msgspec.structs.replace(progress, message="measuring the noise floor"))

    itself = dict.fromkeys(stage.artifacts, stage.artifacts["baseline"])
    twin = dataclasses.replace(stage, artifacts=itself)
    return await pairs.play(twin, enough=lambda _: True, on_progress=report)


async def _assess(
    config: RuntimeConfig,
    inputs: RuntimeInputs,
    workspace: Path,
    reference: str,
    threads: int,
    on_progress: Callable[[Progress], None],
) -> _Assessed:
    """Both models over the data set, before anything is timed: bad input is found in the first second."""

    def report(completed: int, total: int) -> None:
        on_progress(Progress(completed=completed, total=total, unit="samples", message="comparing outputs"))

    folder = workspace.resolve()
    with children(lambda: Child(QUALITY_MODULE, reference, folder, "quality")) as (child,):
        await child.ready()
        return await child.ask(
            "run",
            _Assessed,
            report,
            baseline=str(inputs.baseline.resolve()),
            candidate=str(inputs.candidate.resolve()),
            data=None if inputs.dataset is None else str(inputs.dataset.resolve()),
            shapes=config.input_shapes,
            axes=[config.batch, config.height, config.width],
            threads=threads,
            folder=str(folder),
        )


def _seed(config: RuntimeConfig) -> int:
    """The same measurement asked again is played in the same order."""
    names = f"{config.baseline.artifact}{config.candidate.artifact}".encode()
    return int.from_bytes(hashlib.sha256(names).digest()[:8])
