"""Real binaries, real processes. One initdb per session; each test gets a copy of its directory."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from edgeproof.server.postgres import EmbeddedPostgres

# Computes for minutes without ever looking whether its postmaster lives.
BUSY = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b"
# A folder in memory, where there is room: copies cost a tenth, and `kill -9` loses no file of either kind.
MEMORY = Path("/dev/shm")
ROOT = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2**31 else None
CONTROL_PLANE = Path(__file__).with_name("control_plane.py")


def _server_pids(data_dir: Path) -> list[int]:
    found = []
    for process in psutil.process_iter(["name", "cwd", "status"]):
        facts = process.info
        live = facts["name"] == "postgres" and facts["status"] != psutil.STATUS_ZOMBIE
        if live and facts["cwd"] and Path(facts["cwd"]).is_relative_to(data_dir):
            found.append(process.pid)
    return found


@pytest.fixture
def server_pids() -> Callable[[Path], list[int]]:
    """Live server processes below a directory, found without the code under test."""
    return _server_pids


async def _eventually(holds: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool], float], Awaitable[bool]]:
    return _eventually


@pytest.fixture
def keep_busy() -> Callable[[str], Awaitable[asyncio.Task[Any]]]:
    """Send a long computation; the task ends, with an error, when its server process does."""

    async def send(dsn: str) -> asyncio.Task[Any]:
        connection = await asyncpg.connect(dsn=dsn)
        backend = psutil.Process(connection.get_server_pid())
        query = asyncio.create_task(connection.fetchval(BUSY))
        assert await _eventually(lambda: backend.cpu_times().user > 0.05, 10)
        return query

    return send


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="edgeproof-template-", dir=ROOT) as root:
        path = Path(root) / "data"

        async def initialise() -> None:
            async with EmbeddedPostgres(path):
                pass

        asyncio.run(initialise())
        yield path


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, so that only our own permissions are tested."""
    root = Path(tempfile.mkdtemp(prefix="ep-", dir=ROOT))
    root.chmod(0o755)
    yield root
    for pid in _server_pids(root):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(root)


@pytest.fixture
def data_dir(template: Path, open_folder: Path) -> Path:
    """An initialised data directory with a short path."""
    shutil.copytree(template, open_folder / "data")
    return open_folder / "data"


@dataclass
class ControlPlane:
    """A started ``control_plane.py`` and what it said."""

    process: subprocess.Popen[bytes]
    said: dict[str, Any]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
async def control_plane() -> AsyncIterator[Callable[..., Awaitable[ControlPlane]]]:
    """Start a control plane on a directory, perhaps through another command, and wait for its first line."""
    started: list[subprocess.Popen[bytes]] = []

    async def start(
        data_dir: Path,
        *words: str,
        through: tuple[str, ...] = (),
        python: str = sys.executable,
        **how: Any,
    ) -> ControlPlane:
        command = [*through, python, str(CONTROL_PLANE), str(data_dir), *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, **how)
        started.append(process)
        assert process.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), 30)
        return ControlPlane(process, json.loads(line))

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
