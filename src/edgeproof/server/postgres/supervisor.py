"""Starts, watches and stops the embedded PostgreSQL of one data directory.

The postmaster is our child and ends with us, also when we are killed. No schema, no pool: see ADR 0001.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from types import TracebackType

import asyncpg

from edgeproof.server.postgres.address import PostgresAddress
from edgeproof.server.postgres.binaries import PostgresBinaries, find_binaries
from edgeproof.server.postgres.child import release, start_child
from edgeproof.server.postgres.cluster import (
    DATABASE,
    USER,
    check_version,
    give_cluster_to,
    initialise,
    read_password,
)
from edgeproof.server.postgres.data_folder import DataFolder
from edgeproof.server.postgres.errors import (
    PostgresAlreadyRunning,
    PostgresStartFailed,
    PostgresUnsupported,
)
from edgeproof.server.postgres.identity import Identity, choose_identity, needs_another_name
from edgeproof.server.postgres.leftovers import clear_leftovers
from edgeproof.server.postgres.namespaces import namespaces_work
from edgeproof.server.postgres.processes import identify
from edgeproof.server.postgres.readiness import postmaster_pid, wait_until_ready
from edgeproof.server.postgres.record import PostmasterRecord, read_record, write_record
from edgeproof.server.postgres.settings import PORT, server_arguments
from edgeproof.server.postgres.socket_folder import make_socket_folder, remove_socket_folder

_logger = logging.getLogger(__name__)

# A fast shutdown writes a checkpoint; past this bound an immediate one leaves that to the next start.
_FAST_STOP = 20.0
_IMMEDIATE_STOP = 10.0
# A server that was killed a moment ago may not have ended yet.
_DYING = 0.5


class EmbeddedPostgres:
    """One embedded server. Belongs to one event loop, whose thread must outlive the server."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = DataFolder(Path(os.path.abspath(data_dir)))  # noqa: PTH100  (resolve follows links)
        self._lock: int | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._socket_dir: Path | None = None
        self._pid: int | None = None

    @property
    def pid(self) -> int | None:
        """The postmaster's pid while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._pid if running else None

    async def start(self) -> PostgresAddress:
        """Initialise the directory when needed, start the server, return once it accepts our password.

        Waits without limit for a crash recovery that makes progress. After the server has ended by itself,
        it can be started again.

        Raises:
            PostgresError: one of its subclasses; nothing is left running.
        """
        if sys.platform == "win32":
            raise PostgresUnsupported("no embedded PostgreSQL on Windows: set EDGEPROOF_DATABASE_URL")
        if self._process is not None and not await _has_ended(self._process, _DYING):
            raise PostgresAlreadyRunning(f"{self._folder.path} is in use by this very object")
        binaries = find_binaries()
        try:
            if self._lock is None:
                self._folder.prepare()
                self._lock = await self._folder.acquire()
            return await self._start_locked(binaries)
        except BaseException:
            await self._end(immediately=True)
            raise

    async def stop(self) -> None:
        """Stop in order (``SIGINT``), after a bound at once (``SIGQUIT``). Does nothing when stopped."""
        await self._end(immediately=False)

    async def wait(self) -> int:
        """Return the exit status once the postmaster has ended, by itself or through :meth:`stop`.

        Negative: the signal that ended it.
        """
        if self._process is None:
            raise RuntimeError("the server was not started")
        return await self._process.wait()

    async def __aenter__(self) -> PostgresAddress:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _start_locked(self, binaries: PostgresBinaries) -> PostgresAddress:
        folder = self._folder
        record = read_record(folder.record)
        if folder.cluster.exists():
            await clear_leftovers(folder, record)
        namespaces = needs_another_name() and await namespaces_work(binaries)
        identity = choose_identity(folder.path, folder.cluster, namespaces=namespaces)
        self._drop_socket_folder(record.socket_dir if record else None)
        give_cluster_to(folder, identity)
        if not folder.cluster.exists():
            await initialise(folder, binaries, identity)
        check_version(folder)
        password = read_password(folder)
        self._socket_dir = make_socket_folder(folder.path)
        if identity.uid is not None and identity.gid is not None:
            os.chown(self._socket_dir, identity.uid, identity.gid)
        await self._launch(binaries, identity, self._socket_dir)
        address = PostgresAddress(self._socket_dir, USER, password, DATABASE, PORT)
        await _verify(address)
        _logger.info("PostgreSQL is ready, pid %s", self._pid)
        return address

    async def _launch(self, binaries: PostgresBinaries, identity: Identity, socket_dir: Path) -> None:
        folder = self._folder
        with folder.open_log() as log:
            log_start = log.tell()
            process = self._process = await start_child(
                [str(binaries.postgres), *server_arguments(folder.cluster, socket_dir)],
                identity=identity,
                # Immediate shutdown: nobody is left to wait for, and the log makes it whole again.
                death_signal=signal.SIGQUIT,
                reach=[folder.cluster, socket_dir, binaries.postgres],
                output=log,
            )
        known = identify(process.pid)
        if known is not None:
            write_record(folder.record, PostmasterRecord(known, socket_dir))
            release(process)
        await wait_until_ready(folder, process, log_start)
        self._pid = postmaster_pid(folder)
        known = identify(self._pid) if self._pid is not None else None
        if self._pid != process.pid and known is not None:
            write_record(folder.record, PostmasterRecord(known, socket_dir))

    async def _end(self, *, immediately: bool) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            steps = [(signal.SIGQUIT, _IMMEDIATE_STOP)]
            if not immediately:
                steps.insert(0, (signal.SIGINT, _FAST_STOP))
            for number, bound in steps:
                process.send_signal(number)
                if await _has_ended(process, bound):
                    break
                _logger.warning("PostgreSQL did not end within %.0f s of %s", bound, number.name)
            else:
                await self._kill(process)
        if process is not None and process.stdin is not None:
            process.stdin.close()
        self._pid = None
        self._drop_socket_folder(self._socket_dir)
        self._socket_dir = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _kill(self, process: asyncio.subprocess.Process) -> None:
        process.kill()
        await process.wait()
        # Where a watching process stood between us, the postmaster still runs; its children may, too.
        await clear_leftovers(self._folder, read_record(self._folder.record))

    def _drop_socket_folder(self, socket_dir: Path | None) -> None:
        if socket_dir is not None:
            cluster = self._folder.cluster
            owners = {os.geteuid(), cluster.stat().st_uid} if cluster.exists() else {os.geteuid()}
            remove_socket_folder(socket_dir, owners=owners)


async def _has_ended(process: asyncio.subprocess.Process, bound: float) -> bool:
    try:
        await asyncio.wait_for(process.wait(), bound)
    except TimeoutError:
        return False
    return True


async def _verify(address: PostgresAddress) -> None:
    try:
        connection = await asyncpg.connect(dsn=address.dsn(), timeout=30)
        await connection.close()
    except (asyncpg.PostgresError, OSError) as error:
        raise PostgresStartFailed(f"the server refuses us: {error}") from error
