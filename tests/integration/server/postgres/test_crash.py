"""``kill -9``, stale files and strangers: what a restart must survive, and whom it must spare."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from edgeproof.server.postgres import (
    EmbeddedPostgres,
    PostgresAddress,
    PostgresAlreadyRunning,
    data_folder,
    supervisor,
)
from edgeproof.server.postgres.binaries import find_binaries

ServerPids = Callable[[Path], list[int]]
Eventually = Callable[[Callable[[], bool], float], Awaitable[bool]]
KeepBusy = Callable[[str], Awaitable[asyncio.Task[Any]]]
Start = Callable[..., Awaitable[Any]]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, what was killed a moment ago may take longer to die than users should wait."""
    monkeypatch.setattr(supervisor, "_DYING", 10.0)
    monkeypatch.setattr(data_folder, "_LOCK_PATIENCE", 10.0)


async def _commit(dsn: str) -> None:
    connection = await asyncpg.connect(dsn=dsn)
    await connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    await connection.close()


async def _kept(address: PostgresAddress) -> bool:
    connection = await asyncpg.connect(dsn=address.dsn())
    value = await connection.fetchval("SELECT value FROM kept")
    await connection.close()
    return bool(value == 7)


@pytest.mark.usefixtures("patient")
async def test_postmaster_killed_with_a_busy_backend(
    data_dir: Path, server_pids: ServerPids, keep_busy: KeepBusy
) -> None:
    postgres = EmbeddedPostgres(data_dir)
    address = await postgres.start()
    await _commit(address.dsn())
    query = await keep_busy(address.dsn())
    killed = postgres.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    address = await postgres.start()
    assert postgres.pid != killed
    assert await _kept(address)
    assert killed not in server_pids(data_dir)
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await query
    await postgres.stop()
    assert server_pids(data_dir) == []


async def test_wait_tells_that_the_postmaster_was_killed(data_dir: Path) -> None:
    postgres = EmbeddedPostgres(data_dir)
    await postgres.start()
    waiting = asyncio.create_task(postgres.wait())
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGKILL)
    assert await asyncio.wait_for(waiting, 10) == -signal.SIGKILL
    assert postgres.pid is None
    await postgres.stop()


async def test_no_server_outlives_a_killed_control_plane(
    data_dir: Path,
    control_plane: Start,
    server_pids: ServerPids,
    eventually: Eventually,
    keep_busy: KeepBusy,
    capsys: pytest.CaptureFixture[str],
) -> None:
    parent = await control_plane(data_dir)
    query = await keep_busy(parent.said["dsn"])
    assert server_pids(data_dir)
    parent.kill()
    began = time.monotonic()
    assert await eventually(lambda: not server_pids(data_dir), 10)
    with capsys.disabled():
        print(f"\nits server was gone after {time.monotonic() - began:.2f} s (goal: under 2 s)")  # noqa: T201
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await query


@pytest.mark.usefixtures("patient")
async def test_restart_right_after_a_killed_control_plane(data_dir: Path, control_plane: Start) -> None:
    parent = await control_plane(data_dir)
    await _commit(parent.said["dsn"])
    # Not waited for: it may still be dying, with the lock in its hands.
    parent.process.kill()
    began = time.monotonic()
    postgres = EmbeddedPostgres(data_dir)
    starting = asyncio.create_task(postgres.start())
    await asyncio.sleep(0)
    assert time.monotonic() - began < 1
    assert await _kept(await starting)
    await postgres.stop()


@pytest.mark.usefixtures("patient")
async def test_control_plane_and_postmaster_killed_with_a_busy_backend(
    data_dir: Path, control_plane: Start, server_pids: ServerPids, keep_busy: KeepBusy
) -> None:
    parent = await control_plane(data_dir)
    await _commit(parent.said["dsn"])
    query = await keep_busy(parent.said["dsn"])
    parent.process.send_signal(signal.SIGSTOP)
    os.kill(parent.said["pid"], signal.SIGKILL)
    parent.kill()
    assert server_pids(data_dir), "the busy backend was to be an orphan"
    async with EmbeddedPostgres(data_dir) as address:
        assert await _kept(address)
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await query


def _names(process: psutil.Process, path: Path) -> bool:
    try:
        return str(path) in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # another child, which has ended meanwhile
        return False


async def test_a_killed_initdb_leaves_no_cluster(
    open_folder: Path, control_plane: Start, eventually: Eventually
) -> None:
    path = open_folder / "data"
    starting = asyncio.ensure_future(control_plane(path))
    assert await eventually(lambda: bool(list(path.glob("cluster.initdb-*/data/base"))), 10)
    (child,) = [process for process in psutil.Process().children() if _names(process, path)]
    child.kill()
    assert not (path / "cluster").exists()
    with pytest.raises(ValueError):
        await starting
    async with EmbeddedPostgres(path):
        assert not list(path.glob("cluster.initdb-*"))


@pytest.mark.parametrize("complete", [False, True])
async def test_a_stale_pid_file_naming_a_stranger(data_dir: Path, complete: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        lines = [str(stranger.pid), str(data_dir / "cluster")]
        if complete:
            lines += [str(int(time.time())), "5432", str(data_dir / "socket"), "", "1 1", "ready"]
        (data_dir / "cluster" / "postmaster.pid").write_text("\n".join(lines) + "\n")
        async with EmbeddedPostgres(data_dir) as address:
            connection = await asyncpg.connect(dsn=address.dsn())
            await connection.close()
            assert stranger.poll() is None
        assert stranger.poll() is None
        stranger.kill()


async def test_a_record_naming_the_pid_of_a_stranger(data_dir: Path) -> None:
    record = data_dir / "postmaster.json"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        content = record.read_text()
        pid = content.split('"pid": ')[1].split(",")[0]
        record.write_text(content.replace(f'"pid": {pid}', f'"pid": {stranger.pid}'))
        async with EmbeddedPostgres(data_dir):
            pass
        assert stranger.poll() is None
        stranger.kill()


async def test_a_server_started_by_hand_is_spared(data_dir: Path, eventually: Eventually) -> None:
    cluster = data_dir / "cluster"
    another_name = ("unshare", "--user", "--map-user=65534") if os.geteuid() == 0 else ()
    server = (str(find_binaries().postgres), "-D", str(cluster), "-h", "", "-k", str(data_dir))
    with subprocess.Popen([*another_name, *server], stderr=subprocess.DEVNULL) as by_hand:
        try:
            pid_file = cluster / "postmaster.pid"
            assert await eventually(lambda: pid_file.exists() and "ready" in pid_file.read_text(), 10)
            with pytest.raises(PostgresAlreadyRunning, match=str(by_hand.pid)):
                await EmbeddedPostgres(data_dir).start()
            assert by_hand.poll() is None
        finally:
            by_hand.send_signal(signal.SIGINT)
    async with EmbeddedPostgres(data_dir):
        pass
