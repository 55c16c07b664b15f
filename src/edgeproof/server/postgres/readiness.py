"""Waits for a starting server: as long as it makes progress, however long its crash recovery takes."""

from __future__ import annotations

import asyncio
import logging

from edgeproof.server.postgres.child import NEVER_RAN
from edgeproof.server.postgres.data_folder import DataFolder
from edgeproof.server.postgres.errors import PostgresDataDirUnusable, PostgresStartFailed
from edgeproof.server.postgres.processes import activity

_logger = logging.getLogger(__name__)

_TICK = 0.01
_PID_LINE, _STATUS_LINE = 0, 7


def _pid_file(folder: DataFolder) -> list[str]:
    try:
        return folder.pid_file.read_text(errors="replace").splitlines()
    except OSError:
        return []


def postmaster_pid(folder: DataFolder) -> int | None:
    """The pid that the running postmaster wrote."""
    lines = _pid_file(folder)
    return int(lines[_PID_LINE]) if lines and lines[_PID_LINE].isdigit() else None


def _is_ready(folder: DataFolder) -> bool:
    lines = _pid_file(folder)
    return len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() == "ready"


async def wait_until_ready(
    folder: DataFolder,
    process: asyncio.subprocess.Process,
    log_start: int,
    *,
    look_every: float = 5.0,
    stalled_after: float = 300.0,
) -> None:
    """Return once the postmaster says that it is ready. The pid file of any earlier one must be gone.

    Without a CPU tick, a byte moved or a line logged for ``stalled_after`` seconds, it counts as stuck.

    Raises:
        PostgresDataDirUnusable: the server's identity cannot reach the directory.
        PostgresStartFailed: the process ended, or is stuck.
    """
    loop = asyncio.get_running_loop()
    looked = progressed = loop.time()
    seen: tuple[float, int] | None = None
    while not _is_ready(folder):
        if process.returncode is not None:
            said = _said(folder, log_start)
            kind = PostgresDataDirUnusable if process.returncode in NEVER_RAN else PostgresStartFailed
            raise kind(f"PostgreSQL ended with status {process.returncode}: {said}")
        now = loop.time()
        if now - looked >= look_every:
            looked = now
            current = (activity(process.pid), folder.log.stat().st_size)
            if current != seen:
                seen, progressed = current, now
            _logger.info("PostgreSQL is still starting: %s", _said(folder, log_start).rpartition("\n")[2])
            if now - progressed > stalled_after:
                raise PostgresStartFailed(f"PostgreSQL makes no progress: {_said(folder, log_start)}")
        await asyncio.sleep(_TICK)


def _said(folder: DataFolder, log_start: int) -> str:
    with folder.log.open("rb") as log:
        log.seek(log_start)
        return log.read()[-2000:].decode(errors="replace").strip()
