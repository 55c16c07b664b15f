"""How long a start may take: as long as it works, and no longer than that."""

import asyncio
import sys
import tempfile
from pathlib import Path

import pytest

from edgeproof.server.postgres import PostgresStartFailed
from edgeproof.server.postgres.child import release, start_child
from edgeproof.server.postgres.data_folder import DataFolder
from edgeproof.server.postgres.identity import Identity
from edgeproof.server.postgres.readiness import wait_until_ready

WORK_THEN_READY = """
import pathlib, sys, time
while time.process_time() < 4.0:
    pass
pathlib.Path(sys.argv[1]).write_text("1\\n\\n\\n\\n\\n\\n\\nready\\n")
time.sleep(60)
"""


async def _start(code: str, argument: Path) -> asyncio.subprocess.Process:
    command = [sys.executable, "-c", code, str(argument)]
    with tempfile.TemporaryFile() as output:
        process = await start_child(command, identity=Identity(), death_signal=9, reach=[], output=output)
    release(process)
    return process


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "postgres.log").touch()
    return DataFolder(tmp_path)


async def _end(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.wait()
    assert process.stdin is not None
    process.stdin.close()


async def test_a_recovery_that_works_has_no_limit(folder: DataFolder) -> None:
    process = await _start(WORK_THEN_READY, folder.pid_file)
    await wait_until_ready(folder, process, 0, look_every=0.1, stalled_after=3)
    await _end(process)


async def test_one_that_does_nothing_is_stuck(folder: DataFolder) -> None:
    process = await _start("import time; time.sleep(60)", folder.pid_file)
    with pytest.raises(PostgresStartFailed, match="no progress"):
        await wait_until_ready(folder, process, 0, look_every=0.1, stalled_after=0.5)
    await _end(process)
