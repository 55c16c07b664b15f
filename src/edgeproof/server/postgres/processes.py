"""Knows a process by its start time, not by its pid alone, and signals only the one it knows.

A pid is handed out again; a pid together with the boot and the clock tick that it started at is not.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from edgeproof.server.postgres.settings import cluster_name


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process of one boot. ``started``: clock ticks since boot (Linux), else 1/100 s of the epoch."""

    pid: int
    boot: str
    started: int


def _boot() -> str:
    if sys.platform == "linux":
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def identify(pid: int) -> ProcessIdentity | None:
    """Who has ``pid`` now; None when nobody has, or only a process that has ended and is not yet reaped."""
    try:
        if sys.platform == "linux":
            # psutil's create_time moves with the wall clock; the ticks do not.
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            return None if fields[0] in (b"Z", b"X") else ProcessIdentity(pid, _boot(), int(fields[19]))
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return ProcessIdentity(pid, _boot(), round(process.create_time() * 100))
    except (OSError, psutil.Error, IndexError):
        return None


def is_alive(process: ProcessIdentity) -> bool:
    """Whether exactly this process still runs."""
    return identify(process.pid) == process


def send_signal(process: ProcessIdentity, number: signal.Signals) -> None:
    """Signal this process and no successor of its pid; nothing happens when it has ended, or we may not."""
    with suppress(ProcessLookupError, PermissionError):
        if sys.platform != "linux":
            if is_alive(process):
                os.kill(process.pid, number)
            return
        descriptor = os.pidfd_open(process.pid)
        try:
            if is_alive(process):
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _serves(process: psutil.Process, cluster: Path) -> bool:
    try:
        # All processes of a server stay in its data directory.
        return Path(process.cwd()).samefile(cluster)
    except psutil.AccessDenied:
        # Root in a container may lack the right to ask. Titles are open to all, uids cannot be forged.
        own: bool = process.uids().real == cluster.stat().st_uid
        title: str = process.cmdline()[0]
        return own and title.startswith(f"postgres: {cluster_name(cluster)}")


def server_processes(cluster: Path) -> dict[ProcessIdentity, int]:
    """Every live ``postgres`` process of the server of ``cluster``, with its parent's pid.

    Those of other users are not seen, except by root.
    """
    found: dict[ProcessIdentity, int] = {}
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError, IndexError):
            process = psutil.Process(pid)
            if process.name() == "postgres" and _serves(process, cluster):
                identity = identify(pid)
                if identity is not None:
                    found[identity] = process.ppid()
    return found


def activity(pid: int) -> float:
    """A number that grows while the process or a child of it works: CPU seconds and bytes moved."""
    total = 0.0
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.Error, OSError):
                times = process.cpu_times()
                total += times.user + times.system
                if sys.platform == "linux":
                    counters = process.io_counters()
                    total += counters.read_bytes + counters.write_bytes
    return total
