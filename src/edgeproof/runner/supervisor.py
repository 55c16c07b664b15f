"""Runs one stage in a confined child and always gets an answer: its outcome, or why there is none.

The parent watches what the child cannot be trusted with: the wall clock and the memory of the whole
process tree. Whatever ends the wait, cancellation included, the tree is gone afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
import psutil

from edgeproof.contract.errors import CODES, StageFailed
from edgeproof.contract.jobs import Progress
from edgeproof.contract.runners import FailRequest, Isolation
from edgeproof.contract.statements import RunLimits, RuntimeConfig
from edgeproof.runner import process_tree
from edgeproof.runner.confine import FAILED_EXIT
from edgeproof.runner.handover import disk_bytes, left_bytes
from edgeproof.runner.isolation import child_environment, confined
from edgeproof.runner.stage import OUTCOME_FILE, TASK_FILE, ForgeDone, Outcome, RuntimeDone, StageError, Task
from edgeproof.runtime.host_lock import make_host_lock

STAGE_COMMAND: Final = (sys.executable, "-I", "-m", "edgeproof.runner.stage")
_MEMORY_SIGNALS: Final = frozenset({signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS})
_MEMORY_WORDS: Final = (
    "MemoryError", "bad_alloc", "Memory allocation", "allocate memory", "failed to map segment",
)  # fmt: skip
_WATCH_SECONDS: Final = 0.25
_GRACE_SECONDS: Final = 2.0
_TAIL_BYTES: Final = 4000
_LINE_BYTES: Final = 4096
_OUTCOME_BYTES: Final = 8 << 20
_EVIDENCE_BYTES: Final = 64 << 10
_COUNT_BOUND: Final = 1 << 53
_DISK_SHARE: Final = 8
"""A workspace may grow by so many times what its run may upload."""
_DISK_TICKS: Final = 4
_NOT_THE_CHILDS: Final = frozenset({"isolation_unavailable", "quota_exceeded"})
"""What only the runner can find. It calls itself unfit over them, which no stage may bring about."""

_Ending = Literal["ended", "time", "memory", "disk"]


async def run_stage(
    task: Task,
    workspace: Path,
    *,
    hide: Path,
    level: Isolation,
    limits: RunLimits,
    on_progress: Callable[[Progress], None],
    command: Sequence[str] = STAGE_COMMAND,
) -> ForgeDone | RuntimeDone:
    """The outcome of ``task``, done in ``workspace``. Raises ``StageFailed`` for every other ending."""
    (workspace / TASK_FILE).write_bytes(msgspec.json.encode(task))
    if isinstance(task.config, RuntimeConfig):
        # What a stage finds outside its workspace it can only read.
        make_host_lock()
    disk = await asyncio.to_thread(disk_bytes, workspace) + _DISK_SHARE * limits.max_upload_bytes
    process = await asyncio.create_subprocess_exec(
        *confined(level, workspace, hide, limits, list(command)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(workspace),
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    tail = bytearray()
    reading = asyncio.gather(_relay(process.stdout, on_progress), _keep_tail(process.stderr, tail))
    try:
        ending = await _ending(process, limits, workspace, disk)
    finally:
        await _end(process)
        # Within the grace, for what stays open is held by a process that got away.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reading, _GRACE_SECONDS)
    if ending == "time":
        raise StageFailed("time_limit", f"the stage ran longer than {limits.max_seconds} s")
    if ending == "memory":
        detail = f"the stage used more than {limits.max_memory_bytes} bytes of memory"
        raise StageFailed("memory_limit", detail)
    if ending == "disk":
        raise StageFailed("disk_limit", f"the stage's workspace grew beyond {disk} bytes")
    if process.returncode != 0:
        raise _death(process.returncode, tail.decode(errors="replace").strip())
    return _outcome(await asyncio.to_thread(left_bytes, workspace / OUTCOME_FILE, _OUTCOME_BYTES))


async def _ending(
    process: asyncio.subprocess.Process, limits: RunLimits, workspace: Path, disk: int
) -> _Ending:
    ended = asyncio.create_task(process.wait())
    ticks = 0
    try:
        async with asyncio.timeout(limits.max_seconds):
            while not ended.done():
                ticks += 1
                if ticks % _DISK_TICKS == 0 and await asyncio.to_thread(_disk, process.pid, workspace) > disk:
                    return "disk"
                if process_tree.memory_bytes(process.pid) > limits.max_memory_bytes:
                    return "memory"
                await asyncio.wait({ended}, timeout=_WATCH_SECONDS)
    except TimeoutError:
        return "time"
    finally:
        ended.cancel()
    return "ended"


def _disk(pid: int, workspace: Path) -> int:
    return disk_bytes(workspace) + process_tree.unlinked_bytes(pid)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Asks the keeper to end all; what does not follow is killed, as far as it can still be found."""
    left = process_tree.members(process.pid) if process.returncode is None else []
    try:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
    except (TimeoutError, ProcessLookupError):
        left += process_tree.members(process.pid)
    finally:
        if process.returncode is None or process.returncode < 0:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            for member in left:
                with contextlib.suppress(psutil.Error):
                    member.kill()
    await process.wait()


def _outcome(data: bytes) -> ForgeDone | RuntimeDone:
    try:
        outcome: Outcome = msgspec.json.decode(data, type=Outcome)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise StageFailed("result_invalid", f"the stage's outcome: {error}", fault="backend") from error
    if isinstance(outcome, StageError):
        raise _failure(outcome.failure)
    return outcome


def _failure(told: FailRequest) -> StageFailed:
    """What the child says of its failure, within the bounds of what may be said."""
    if told.code not in CODES or told.code in _NOT_THE_CHILDS:
        return StageFailed("result_invalid", "the stage failed with a code not its own", fault="backend")
    small = len(msgspec.json.encode(told.evidence)) <= _EVIDENCE_BYTES
    return StageFailed(
        told.code,
        told.message,
        fault=told.fault,
        retryable=told.retryable,
        evidence=told.evidence if small else (),
    )


def _death(status: int | None, tail: str) -> StageFailed:
    evidence = ({"stderr": tail},)
    if status is not None and -status in _MEMORY_SIGNALS:
        name = signal.Signals(-status).name
        return StageFailed("memory_limit", f"the stage was ended by {name}", evidence=evidence)
    if status == FAILED_EXIT:
        return StageFailed("isolation_unavailable", tail, fault="device")
    if any(words in tail for words in _MEMORY_WORDS):
        return StageFailed("memory_limit", "the stage ran out of memory", evidence=evidence)
    return StageFailed(
        "stage_crashed",
        f"the stage ended with status {status}",
        fault="infrastructure",
        retryable=True,
        evidence=evidence,
    )


async def _relay(stream: asyncio.StreamReader, on_progress: Callable[[Progress], None]) -> None:
    """Lines that are sensible progress; anything else, endless lines included, is passed over."""
    line = bytearray()
    while chunk := await stream.read(65536):
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            line += part
            _note(bytes(line), on_progress)
            line.clear()
        line += rest
        del line[_LINE_BYTES + 1 :]


def _note(line: bytes, on_progress: Callable[[Progress], None]) -> None:
    if len(line) > _LINE_BYTES:
        return
    try:
        progress = msgspec.json.decode(line, type=Progress)
    except (msgspec.MsgspecError, ValueError):
        return
    if 0 <= progress.completed < _COUNT_BOUND and 0 <= (progress.total or 0) < _COUNT_BOUND:
        on_progress(progress)


async def _keep_tail(stream: asyncio.StreamReader, tail: bytearray) -> None:
    while chunk := await stream.read(65536):
        tail += chunk
        del tail[:-_TAIL_BYTES]
