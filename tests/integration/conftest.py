"""A real PostgreSQL for the whole session, a fresh migrated database for each test that asks."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from edgeproof.server.migrations import migrate
from edgeproof.server.plane.control_plane import ControlPlane, Settings, open_control_plane
from edgeproof.server.postgres import EmbeddedPostgres

PUBLIC_URL = "http://127.0.0.1:7411"
TEMPLATE = "migrated_template"


def on_database(dsn: str, name: str) -> str:
    """The same server and user, another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


async def execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """A server of this session's own, in a thread with a loop of its own: tests' loops come and go."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            server = EmbeddedPostgres(Path(folder) / "postgres")
            address = asyncio.run_coroutine_threadsafe(server.start(), loop).result(120)
            try:
                yield address.dsn()
            finally:
                asyncio.run_coroutine_threadsafe(server.stop(), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="session")
def migrated_template(postgres_dsn: str) -> str:
    """The name of a migrated, empty database that nobody is connected to."""

    async def make() -> None:
        await execute(postgres_dsn, f"CREATE DATABASE {TEMPLATE}")
        await migrate(on_database(postgres_dsn, TEMPLATE))

    asyncio.run(make())
    return TEMPLATE


@pytest.fixture
async def empty_dsn(postgres_dsn: str) -> AsyncIterator[str]:
    """A database without any table."""
    name = f"empty_{secrets.token_hex(6)}"
    await execute(postgres_dsn, f"CREATE DATABASE {name}")
    yield on_database(postgres_dsn, name)
    await execute(postgres_dsn, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def fresh_dsn(postgres_dsn: str, migrated_template: str) -> AsyncIterator[str]:
    """A migrated database of this test's own."""
    name = f"test_{secrets.token_hex(6)}"
    await execute(postgres_dsn, f"CREATE DATABASE {name} TEMPLATE {migrated_template} STRATEGY FILE_COPY")
    yield on_database(postgres_dsn, name)
    await execute(postgres_dsn, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def settings() -> Settings:
    """Override it in a test module to change a setting."""
    return Settings(public_url=PUBLIC_URL)


@pytest.fixture
async def control_plane(fresh_dsn: str, settings: Settings, tmp_path: Path) -> AsyncIterator[ControlPlane]:
    """One replica on a fresh database and an artifact folder in ``tmp_path``."""
    plane = await open_control_plane(fresh_dsn, tmp_path / "artifacts", settings)
    yield plane
    await plane.close()


@pytest.fixture
async def another_replica(
    control_plane: ControlPlane, fresh_dsn: str, settings: Settings, tmp_path: Path
) -> AsyncIterator[ControlPlane]:
    """A second replica on the same database and folder."""
    plane = await open_control_plane(fresh_dsn, tmp_path / "artifacts", settings)
    yield plane
    await plane.close()
