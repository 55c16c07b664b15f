"""The confined child: does one stage in its workspace and writes ``outcome.json``.

Run as ``python -m edgeproof.runner.stage`` with ``task.json`` in the current folder. It knows no key, no
token and no server. Progress goes to standard output, one JSON object a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

import msgspec

from edgeproof.contract.base import Wire
from edgeproof.contract.canonical import canonical
from edgeproof.contract.errors import Refused, StageFailed, Unavailable
from edgeproof.contract.ids import UtcTime
from edgeproof.contract.jobs import Progress
from edgeproof.contract.results import ForgeManifest, ForgeMetadata, RuntimeResult, WorkerRuntimeSummary
from edgeproof.contract.runners import FailRequest
from edgeproof.contract.samples import PairSamples
from edgeproof.contract.statements import (
    CacheOrigin,
    EnvironmentSnapshot,
    ForgeConfig,
    NoiseFloor,
    RuntimeConfig,
)

TASK_FILE: Final = "task.json"
OUTCOME_FILE: Final = "outcome.json"
SAMPLES_FILE: Final = "samples.json"
QUALITY_FILE: Final = "quality.json"


class Task(Wire, frozen=True, kw_only=True):
    """``inputs`` maps a role (``source``, ``calibration``, ``baseline`` …) to a file in the workspace.

    ``build_cache`` is a folder of earlier builds, or None. ``noise`` are the floors that
    the runner remembers.
    """

    config: ForgeConfig | RuntimeConfig
    inputs: dict[str, str]
    build_cache: str | None
    noise: tuple[NoiseFloor, ...] = ()


class ForgeDone(Wire, frozen=True, kw_only=True, tag="forge"):
    """``artifact`` is a file in the workspace."""

    artifact: str
    metadata: ForgeMetadata
    manifest: ForgeManifest
    summary: WorkerRuntimeSummary
    cached: CacheOrigin | None
    versions: dict[str, str]
    started_at: UtcTime
    finished_at: UtcTime


class RuntimeDone(Wire, frozen=True, kw_only=True, tag="runtime"):
    """Raw samples and quality lie beside it as canonical documents."""

    baseline: RuntimeResult
    candidate: RuntimeResult
    noise: NoiseFloor
    drawn: NoiseFloor | None = None
    environment_before: EnvironmentSnapshot
    environment_after: EnvironmentSnapshot


class StageError(Wire, frozen=True, kw_only=True, tag="failed"):
    failure: FailRequest


Outcome = ForgeDone | RuntimeDone | StageError


def main() -> None:
    task = msgspec.json.decode(Path(TASK_FILE).read_bytes(), type=Task)
    report = _progress_to(os.fdopen(os.dup(1), "w", buffering=1))
    # Libraries print; what they print must not be read as progress.
    os.dup2(2, 1)
    try:
        outcome: Outcome = _work(task, report)
    except StageFailed as error:
        outcome = _failed(error.code, error.detail, error)
    except Refused as error:
        outcome = _failed(error.code, error.detail, StageFailed(error.code))
    except Unavailable as error:
        fault = StageFailed(error.code, fault="device", retryable=True)
        outcome = _failed(error.code, error.detail, fault)
    except MemoryError:
        outcome = _failed("memory_limit", "the stage ran out of memory", StageFailed("memory_limit"))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        fault = StageFailed("disk_full", fault="device", retryable=True)
        outcome = _failed("disk_full", f"the workspace is full: {error}", fault)
    temporary = Path(OUTCOME_FILE + ".part")
    temporary.write_bytes(msgspec.json.encode(outcome))
    temporary.replace(OUTCOME_FILE)


def _work(task: Task, report: Callable[[Progress], None]) -> Outcome:
    inputs = {role: Path(name).resolve() for role, name in task.inputs.items()}
    if isinstance(task.config, ForgeConfig):
        return _forge(task.config, inputs, task.build_cache, report)
    return asyncio.run(_measure(task.config, inputs, task.noise, report))


def _forge(
    config: ForgeConfig, inputs: dict[str, Path], cache: str | None, report: Callable[[Progress], None]
) -> Outcome:
    from edgeproof.forge.build import ForgeInputs, build
    from edgeproof.forge.cache import BuildCache

    done = build(
        config,
        ForgeInputs(source=inputs["source"], calibration=inputs.get("calibration")),
        Path.cwd(),
        BuildCache(Path(cache).resolve()) if cache else None,
        now=lambda: datetime.now(UTC),
        on_progress=report,
    )
    return ForgeDone(
        artifact=str(done.artifact),
        metadata=done.metadata,
        manifest=done.manifest,
        summary=done.summary,
        cached=done.cached,
        versions=done.versions,
        started_at=done.started_at,
        finished_at=done.finished_at,
    )


async def _measure(
    config: RuntimeConfig,
    inputs: dict[str, Path],
    remembered: tuple[NoiseFloor, ...],
    report: Callable[[Progress], None],
) -> Outcome:
    from edgeproof.lab.circumstances import measured_under
    from edgeproof.lab.looks import decided
    from edgeproof.lab.noise import noise_floor, usable_floor, with_draw
    from edgeproof.runtime.duet import RuntimeInputs, measure

    used: NoiseFloor | None = None

    def noise_known(conditions: str, pairs: Sequence[PairSamples]) -> bool:
        nonlocal used
        used = usable_floor(remembered, conditions, pairs, config.plan, now=datetime.now(UTC))
        return used is not None

    done = await measure(
        config,
        RuntimeInputs(
            baseline=inputs["baseline"], candidate=inputs["candidate"], dataset=inputs.get("dataset")
        ),
        Path.cwd(),
        enough=lambda pairs: decided(pairs, config.plan),
        noise_known=noise_known,
        on_progress=report,
    )
    drawn = None
    if used is None:
        drawn = NoiseFloor(
            conditions=done.conditions,
            background=measured_under(done.twins).background,
            pairs=len(done.twins),
            floor_pct=noise_floor(done.twins),
            measured_at=done.environment_after.at,
        )
        used = with_draw(remembered, drawn)
    Path(SAMPLES_FILE).write_bytes(canonical(done.samples))
    Path(QUALITY_FILE).write_bytes(canonical(done.quality))
    return RuntimeDone(
        baseline=done.baseline,
        candidate=done.candidate,
        noise=used,
        drawn=drawn,
        environment_before=done.environment_before,
        environment_after=done.environment_after,
    )


def _failed(code: str, message: str, error: StageFailed) -> StageError:
    return StageError(
        failure=FailRequest(
            code=code,
            message=message[:4000],
            fault=error.fault,
            retryable=error.retryable,
            evidence=error.evidence[:50],
        )
    )


def _progress_to(stream: TextIO) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        # The parent may be gone; then this process ends with it, and the report does not matter.
        with contextlib.suppress(BrokenPipeError):
            stream.write(msgspec.json.encode(progress).decode() + "\n")
            stream.flush()

    return report


if __name__ == "__main__":
    main()
