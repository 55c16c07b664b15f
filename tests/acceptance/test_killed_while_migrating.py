"""The control plane or PostgreSQL killed in the middle of a migration: the next start finishes it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Literal

import asyncpg
import msgspec
import pytest

from edgeproof.app.serve import DATABASE_VARIABLE, Ready, ServeConfig
from edgeproof.server.migrations import HEAD
from edgeproof.server.postgres import EmbeddedPostgres

from .running_system import environment, free_port

pytestmark = pytest.mark.slow

_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND query ILIKE '%CREATE TABLE%' AND pid <> pg_backend_pid()
"""


async def _serve(data_dir: Path, dsn: str) -> asyncio.subprocess.Process:
    port = free_port()
    config = ServeConfig(
        data_dir=str(data_dir),
        host="127.0.0.1",
        port=port,
        public_url=f"http://127.0.0.1:{port}",
        parent_pid=os.getpid(),
    )
    command = [sys.executable, "-m", "edgeproof.app.serve", msgspec.json.encode(config).decode()]
    with (data_dir / "log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=log, env=environment(**{DATABASE_VARIABLE: dsn})
        )


@pytest.mark.parametrize("victim", ["server", "postgres"])
async def test_a_migration_that_was_cut_short_is_done_again(
    tmp_path: Path, victim: Literal["server", "postgres"]
) -> None:
    postgres = EmbeddedPostgres(tmp_path / "postgres")
    try:
        dsn = (await postgres.start()).dsn()
        # A name that the migration needs, taken by a transaction that does not end: it stops half-way.
        blocker = await asyncpg.connect(dsn)
        await blocker.execute("BEGIN; CREATE TABLE run_outcomes (taken int)")
        server = await _serve(tmp_path, dsn)
        watcher = await asyncpg.connect(dsn)
        async with asyncio.timeout(60):
            while not await watcher.fetchval(_WAITING):
                await asyncio.sleep(0.02)
        if victim == "server":
            server.kill()
            await server.wait()
            await blocker.execute("ROLLBACK")
        else:
            assert postgres.pid is not None
            os.kill(postgres.pid, signal.SIGKILL)
            await postgres.wait()
            assert await server.wait() != 0
        for connection in (blocker, watcher):
            connection.terminate()
        if victim == "postgres":
            dsn = (await postgres.start()).dsn()
        server = await _serve(tmp_path, dsn)
        assert server.stdout is not None
        async with asyncio.timeout(60):
            line = await server.stdout.readline()
        assert line, (tmp_path / "log").read_text()
        assert msgspec.json.decode(line, type=Ready).url
        connection = await asyncpg.connect(dsn)
        assert await connection.fetchval("SELECT version_num FROM alembic_version") == HEAD
        assert await connection.fetchval("SELECT count(*) FROM run_outcomes") == 0
        await connection.close()
        server.terminate()
        await server.wait()
    finally:
        await postgres.stop()
