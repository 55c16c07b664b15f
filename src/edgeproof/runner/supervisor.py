"""Runs one stage in a confined child and always gets an answer: its outcome, or why there is none.

The parent watches what the child cannot be trusted with: the wall clock and the memory of the whole
process tree. Whatever ends the wait, cancellation included, the tree is gone afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import psutil

from edgeproof.contract.errors import StageFailed
from edgeproof.contract.jobs import Progress
from edgeproof.contract.runners import Isolation
from edgeproof.contract.statements import RunLimits
from edgeproof.runner.confine import FAILED_EXIT
from edgeproof.runner.isolation import child_environment, confined
from edgeproof.runner.stage import OUTCOME_FILE, TASK_FILE, Outcome, StageError, Task

_log = logging.getLogger(__name__)

_MEMORY_SIGNALS: Final = frozenset({signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS})
_WATCH_SECONDS: Final = 0.25
_TAIL_BYTES: Final = 4000
_LINE_LIMIT: Final = 1 << 20


async def run_stage(
    task: Task,
    workspace: Path,
    *,
    hide: Path,
    level: Isolation,
    limits: RunLimits,
    on_progress: Callable[[Progress], None],
) -> Outcome:
    """The outcome of ``task``, done in ``workspace``. Raises ``StageFailed`` for every other ending."""
    (workspace / TASK_FILE).write_bytes(msgspec.json.encode(task))
    command = [sys.executable, "-I", "-m", "edgeproof.runner.stage"]
    process = await asyncio.create_subprocess_exec(
        *confined(level, workspace, hide, limits, command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(workspace),
        start_new_session=True,
        limit=_LINE_LIMIT,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    tail = bytearray()
    watch = asyncio.create_task(_watch_memory(process.pid, limits.max_memory_bytes))
    reading = asyncio.gather(_relay(process.stdout, on_progress), _keep_tail(process.stderr, tail))
    ending = asyncio.create_task(process.wait())
    try:
        async with asyncio.timeout(limits.max_seconds):
            await asyncio.wait({watch, ending}, return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError:
        raise StageFailed("time_limit", f"the stage ran longer than {limits.max_seconds} s") from None
    finally:
        watch.cancel()
        _kill_group(process)
        await ending
        with contextlib.suppress(asyncio.CancelledError):
            await reading
    if not watch.cancelled() and watch.done() and watch.exception() is None:
        raise StageFailed(
            "memory_limit", f"the stage used more than {limits.max_memory_bytes} bytes of memory"
        )
    return _outcome(process.returncode, workspace, bytes(tail))


def _outcome(status: int | None, workspace: Path, tail: bytes) -> Outcome:
    text = tail.decode(errors="replace").strip()
    if status == 0:
        outcome: Outcome = msgspec.json.decode((workspace / OUTCOME_FILE).read_bytes(), type=Outcome)
        if isinstance(outcome, StageError):
            failure = outcome.failure
            raise StageFailed(
                failure.code,
                failure.message,
                fault=failure.fault,
                retryable=failure.retryable,
                evidence=failure.evidence,
            )
        return outcome
    if status is not None and -status in _MEMORY_SIGNALS:
        name = signal.Signals(-status).name
        raise StageFailed("memory_limit", f"the stage was ended by {name}", evidence=({"stderr": text},))
    if status == FAILED_EXIT:
        raise StageFailed("isolation_unavailable", text, fault="device")
    if "MemoryError" in text or "bad_alloc" in text:
        raise StageFailed("memory_limit", "the stage ran out of memory", evidence=({"stderr": text},))
    raise StageFailed(
        "stage_crashed",
        f"the stage ended with status {status}",
        fault="infrastructure",
        retryable=True,
        evidence=({"stderr": text},),
    )


async def _relay(stream: asyncio.StreamReader, on_progress: Callable[[Progress], None]) -> None:
    while line := await stream.readline():
        with contextlib.suppress(msgspec.MsgspecError):
            on_progress(msgspec.json.decode(line, type=Progress))


async def _keep_tail(stream: asyncio.StreamReader, tail: bytearray) -> None:
    while chunk := await stream.read(65536):
        tail += chunk
        del tail[:-_TAIL_BYTES]


async def _watch_memory(pid: int, bound: int) -> None:
    """Returns once the tree's private memory exceeds ``bound``; otherwise never."""
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        if sum(_memory(process) for process in _tree(pid)) > bound:
            return


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _memory(process: psutil.Process) -> int:
    try:
        info = process.memory_info()
    except psutil.Error:
        return 0
    return int(info.rss - getattr(info, "shared", 0))


def _kill_group(process: asyncio.subprocess.Process) -> None:
    """The child leads a session of its own; whoever it started and left behind is in its group."""
    for member in _tree(process.pid) if process.returncode is None else ():
        with contextlib.suppress(psutil.Error):
            member.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
