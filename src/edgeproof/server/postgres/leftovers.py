"""Clears what a killed predecessor left: a dying postmaster, backends without one, a stale pid file.

Called only under the directory's lock. Ends a process only when it is proven to be ours: the recorded
postmaster by its start time, others by their cluster and by a start after that postmaster's.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import suppress

from edgeproof.server.postgres.data_folder import DataFolder
from edgeproof.server.postgres.errors import PostgresAlreadyRunning
from edgeproof.server.postgres.processes import ProcessIdentity, is_alive, send_signal, server_processes
from edgeproof.server.postgres.record import PostmasterRecord

_logger = logging.getLogger(__name__)

_TICK = 0.01
# Orphans end by themselves as soon as they look for their postmaster; one in a long query does not look.
_GRACE = 0.1
_QUIT = 5.0
_UNPROVEN = 10.0


async def clear_leftovers(folder: DataFolder, record: PostmasterRecord | None) -> None:
    """Return once no server process uses the cluster, and no pid file claims that one does.

    Raises:
        PostgresAlreadyRunning: a live server that we did not start uses the cluster.
    """
    if record is not None:
        await _end_postmaster(record.process)
    await _end_orphans(folder, record)
    # Nobody is left, so whatever this names, a stranger with the same pid included, is not its writer.
    with suppress(FileNotFoundError):
        folder.pid_file.unlink()


async def wait_until_gone(process: ProcessIdentity, seconds: float) -> bool:
    """Whether the process ended within ``seconds``."""
    deadline = asyncio.get_running_loop().time() + seconds
    while is_alive(process):
        if asyncio.get_running_loop().time() >= deadline:
            return False
        await asyncio.sleep(_TICK)
    return True


async def _end_postmaster(process: ProcessIdentity) -> None:
    if await wait_until_gone(process, _GRACE):
        return
    _logger.warning("ending the postmaster that a control plane before us left behind, pid %d", process.pid)
    for number in (signal.SIGQUIT, signal.SIGKILL):
        send_signal(process, number)
        if await wait_until_gone(process, _QUIT):
            return
    raise PostgresAlreadyRunning(f"our former postmaster, pid {process.pid}, does not end")


async def _end_orphans(folder: DataFolder, record: PostmasterRecord | None) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    sent: set[tuple[ProcessIdentity, signal.Signals]] = set()
    while found := server_processes(folder.cluster):
        # No postmaster of ours lives: one that still has children, or is in the pid file, is a stranger's.
        parents = set(found.values()) | {_pid_in_file(folder)}
        for process in found:
            if process.pid in parents and is_alive(process):
                raise PostgresAlreadyRunning(
                    f"a server that we did not start uses {folder.cluster} (pid {process.pid})"
                )
        waited = loop.time() - began
        for process in found:
            number = signal.SIGKILL if waited > _GRACE + _QUIT else signal.SIGQUIT
            if waited > _GRACE and _ours(process, record) and (process, number) not in sent:
                _logger.warning("ending a server process without a postmaster, pid %d", process.pid)
                sent.add((process, number))
                send_signal(process, number)
        if waited > _UNPROVEN + _QUIT:
            pids = ", ".join(str(process.pid) for process in found)
            raise PostgresAlreadyRunning(f"server processes that do not end use {folder.cluster}: {pids}")
        await asyncio.sleep(_TICK)


def _ours(process: ProcessIdentity, record: PostmasterRecord | None) -> bool:
    if record is None:
        return False
    first = record.process
    return process.boot == first.boot and process.started >= first.started


def _pid_in_file(folder: DataFolder) -> int | None:
    try:
        return int(folder.pid_file.read_text(errors="replace").split("\n", 1)[0])
    except (OSError, ValueError):
        return None
