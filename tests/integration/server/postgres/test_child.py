"""A child ends with its parent, under every identity and with both ties."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable

import psutil
import pytest

from edgeproof.server.postgres.identity import Identity

Eventually = Callable[[Callable[[], bool], float], Awaitable[bool]]

PARENT = """
import asyncio, signal, sys, tempfile
from edgeproof.server.postgres.child import release, start_child
from edgeproof.server.postgres.identity import Identity

async def main():
    with tempfile.TemporaryFile() as output:
        child = await start_child(
            ["/bin/sleep", "60"], identity=Identity(**{identity}), death_signal=signal.SIGQUIT,
            reach=[], output=output, death_signal_by_kernel={by_kernel},
        )
    if {released}:
        release(child)
    print(child.pid, flush=True)
    await child.wait()

asyncio.run(main())
"""

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
IDENTITIES = [
    pytest.param(Identity(), id="ourselves"),
    pytest.param(Identity(namespace_uid=65534), id="namespace"),
    pytest.param(Identity(uid=60777, gid=60777), id="own uid", marks=AS_ROOT),
]


async def _start(
    identity: Identity, *, by_kernel: bool, released: bool
) -> tuple[subprocess.Popen[bytes], int]:
    taken = {name: getattr(identity, name) for name in ("namespace_uid", "uid", "gid")}
    code = PARENT.format(identity=taken, by_kernel=by_kernel, released=released)
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    line = await asyncio.wait_for(asyncio.to_thread(parent.stdout.readline), 20)
    parent.stdout.close()
    return parent, int(line)


def _gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # between the two questions
        return True


def _sleepers(pid: int) -> list[psutil.Process]:
    try:
        top = psutil.Process(pid)
        return [process for process in (top, *top.children()) if process.name() == "sleep"]
    except psutil.NoSuchProcess:
        return []


@pytest.mark.parametrize("by_kernel", [True, False])
@pytest.mark.parametrize("identity", IDENTITIES)
async def test_the_command_ends_with_a_killed_parent(
    identity: Identity, by_kernel: bool, eventually: Eventually
) -> None:
    parent, pid = await _start(identity, by_kernel=by_kernel, released=True)
    assert await eventually(lambda: bool(_sleepers(pid)), 10)
    (sleeper,) = _sleepers(pid)
    assert (sleeper.pid == pid) is by_kernel
    parent.kill()
    parent.wait()
    assert await eventually(lambda: _gone(sleeper), 10)


async def test_a_child_that_was_not_released_ends_without_running_its_command(
    eventually: Eventually,
) -> None:
    parent, pid = await _start(Identity(), by_kernel=True, released=False)
    child = psutil.Process(pid)
    parent.kill()
    parent.wait()
    assert await eventually(lambda: _gone(child), 10)
