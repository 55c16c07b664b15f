"""Starting, stopping, refusing: one control plane, nothing killed."""

import os
import shutil
import stat
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from edgeproof.server.postgres import (
    EmbeddedPostgres,
    PostgresAlreadyRunning,
    PostgresDataDirUnusable,
    PostgresStartFailed,
)


async def _ask(dsn: str, query: str) -> Any:
    connection = await asyncpg.connect(dsn=dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_a_new_directory_is_initialised_and_kept(open_folder: Path) -> None:
    path = open_folder / "new" / "data"
    async with EmbeddedPostgres(path) as address:
        assert await _ask(address.dsn(), "SELECT current_user") == "edgeproof"
        await _ask(address.dsn(), "CREATE TABLE kept AS SELECT 7 AS value")
    async with EmbeddedPostgres(path) as address:
        assert await _ask(address.dsn(), "SELECT value FROM kept") == 7
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((path / "password").stat().st_mode) == 0o600
    assert not list(path.glob("cluster.initdb-*"))


async def test_ready_soon_durable_and_closed_to_the_network(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    async with EmbeddedPostgres(data_dir) as address:
        with capsys.disabled():
            print(f"\nPostgreSQL was ready after {time.monotonic() - began:.2f} s (goal: under 1.5 s)")  # noqa: T201
        expected = {
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "listen_addresses": "",
            "data_checksums": "on",
            "server_encoding": "UTF8",
        }
        assert {name: await _ask(address.dsn(), f"SHOW {name}") for name in expected} == expected
        rules = "SELECT string_agg(DISTINCT auth_method, ',') FROM pg_hba_file_rules"
        assert await _ask(address.dsn(), rules) == "scram-sha-256"


async def test_stop_ends_open_transactions_and_leaves_nothing(
    data_dir: Path, server_pids: Callable[[Path], list[int]]
) -> None:
    postgres = EmbeddedPostgres(data_dir)
    address = await postgres.start()
    assert postgres.pid in server_pids(data_dir)
    idle = await asyncpg.connect(dsn=address.dsn())
    await idle.execute("BEGIN")
    await postgres.stop()
    assert postgres.pid is None
    assert server_pids(data_dir) == []
    assert not address.socket_dir.exists()
    assert await postgres.wait() == 0
    await postgres.stop()
    idle.terminate()


@pytest.mark.parametrize("name", ["with a space", "a,comma", 'a"quote', "percent%20+&?#", "ü" * 20])
async def test_unusual_paths(template: Path, open_folder: Path, name: str) -> None:
    shutil.copytree(template, open_folder / name)
    async with EmbeddedPostgres(open_folder / name) as address:
        assert await _ask(address.dsn(), "SELECT 1") == 1


@pytest.mark.parametrize(("length", "inside"), [(107, True), (108, False)])
async def test_the_longest_path_of_a_socket(
    template: Path, open_folder: Path, length: int, inside: bool
) -> None:
    if sys.platform != "linux":
        pytest.skip("another bound")
    path = open_folder / ("d" * (length - len(f"{open_folder}//socket/.s.PGSQL.5432")))
    shutil.copytree(template, path)
    async with EmbeddedPostgres(path) as address:
        assert await _ask(address.dsn(), "SELECT 1") == 1
        assert address.socket_dir.is_relative_to(path) is inside


async def test_a_long_path_has_its_socket_in_a_private_folder_elsewhere(
    template: Path, open_folder: Path
) -> None:
    path = open_folder / ("d" * 100) / ("e" * 100)
    path.parent.mkdir()
    shutil.copytree(template, path)
    async with EmbeddedPostgres(path) as address:
        assert await _ask(address.dsn(), "SELECT 1") == 1
        assert not address.socket_dir.is_relative_to(path)
        assert stat.S_IMODE(address.socket_dir.stat().st_mode) == 0o700
    assert not address.socket_dir.exists()


async def test_starting_twice_is_refused_and_harms_nothing(
    data_dir: Path, control_plane: Callable[..., Awaitable[Any]]
) -> None:
    postgres = EmbeddedPostgres(data_dir)
    address = await postgres.start()
    with pytest.raises(PostgresAlreadyRunning):
        await postgres.start()
    with pytest.raises(PostgresAlreadyRunning, match=str(os.getpid())):
        await EmbeddedPostgres(data_dir).start()
    other = await control_plane(data_dir)
    assert other.said["code"] == "postgres_already_running"
    assert await _ask(address.dsn(), "SELECT 1") == 1
    await postgres.stop()


async def test_a_wrong_password_is_refused(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir) as address:
        dsn = address.dsn().replace(address.password, "x" * 40)
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(dsn=dsn)


async def test_a_changed_password_file_fails_the_start_and_leaves_nothing_running(
    data_dir: Path, server_pids: Callable[[Path], list[int]]
) -> None:
    (data_dir / "password").write_text("another")
    with pytest.raises(PostgresStartFailed, match="password"):
        await EmbeddedPostgres(data_dir).start()
    assert server_pids(data_dir) == []


async def test_a_folder_of_someone_elses_files_is_refused_and_unchanged(open_folder: Path) -> None:
    (open_folder / "letter").write_text("mine")
    with pytest.raises(PostgresDataDirUnusable):
        await EmbeddedPostgres(open_folder).start()
    assert [path.name for path in open_folder.iterdir()] == ["letter"]
    assert stat.S_IMODE(open_folder.stat().st_mode) == 0o755


async def test_a_cluster_of_another_version_is_refused(data_dir: Path) -> None:
    (data_dir / "cluster" / "PG_VERSION").write_text("16\n")
    with pytest.raises(PostgresDataDirUnusable, match="16"):
        await EmbeddedPostgres(data_dir).start()


async def test_a_broken_cluster_fails_with_what_the_server_said(data_dir: Path) -> None:
    (data_dir / "cluster" / "global" / "pg_control").unlink()
    with pytest.raises(PostgresStartFailed, match="pg_control"):
        await EmbeddedPostgres(data_dir).start()


async def test_no_permission_outside_the_data_directory_changes(data_dir: Path) -> None:
    around = [data_dir.parent, *data_dir.parent.parents]
    before = [(path.stat().st_mode, path.stat().st_uid) for path in around]
    async with EmbeddedPostgres(data_dir):
        pass
    assert [(path.stat().st_mode, path.stat().st_uid) for path in around] == before
