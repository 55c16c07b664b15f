"""The processes under one process: who they are and how much memory they hold together."""

from __future__ import annotations

import contextlib
import stat
import sys
from pathlib import Path

import psutil


def members(pid: int) -> list[psutil.Process]:
    """The process itself first, then all its descendants; empty when it has ended."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def memory_bytes(pid: int) -> int:
    """What the tree occupies: anonymous and shared memory, without mapped files, which can be given up.

    Memory shared within the tree counts once for each process that maps it.
    """
    return sum(_memory(process) for process in members(pid))


def unlinked_bytes(pid: int) -> int:
    """Disk space of files that the tree holds open and that have no name any more."""
    if sys.platform != "linux":
        return 0
    found: dict[tuple[int, int], int] = {}
    for process in members(pid):
        for descriptor in Path(f"/proc/{process.pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                told = descriptor.stat()
                if told.st_nlink == 0 and stat.S_ISREG(told.st_mode):
                    found[told.st_dev, told.st_ino] = told.st_blocks * 512
    return sum(found.values())


def _memory(process: psutil.Process) -> int:
    if sys.platform != "linux":
        with contextlib.suppress(psutil.Error):
            return int(process.memory_info().rss)
        return 0
    total = 0
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process.pid}/status").read_text(errors="replace").splitlines():
            if line.startswith(("RssAnon:", "RssShmem:")):
                total += int(line.split()[1]) << 10
    return total
