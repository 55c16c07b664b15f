"""Processes of ours that must not outlive us, on either side of the fork."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import threading
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
STOP_SECONDS: Final = 6.0
_MANY_FILES: Final = 1 << 16


def die_with_parent(parent_pid: int) -> None:
    """Called first thing in the child: it is killed when the process ``parent_pid`` ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        threading.Thread(target=_watch_parent, args=(parent_pid,), daemon=True).start()
    if os.getppid() != parent_pid:
        os._exit(1)


def allow_many_files() -> None:
    """As many open files as the system lets this process have: each connection is one.

    The usual soft limit, 1024, is there for programs that wait with ``select``.
    """
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS says "infinity" and takes no more than this.
    wanted = _MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, _MANY_FILES)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _watch_parent(parent_pid: int) -> None:
    pause = threading.Event()
    while os.getppid() == parent_pid:
        pause.wait(0.5)
    os._exit(1)


async def stop_process(process: asyncio.subprocess.Process, seconds: float = STOP_SECONDS) -> None:
    """SIGTERM, then SIGKILL after ``seconds``; returns once it is gone."""
    if process.returncode is not None:
        return
    # Not process.terminate(): it may reap the child behind asyncio's back, which then loses its status.
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()
