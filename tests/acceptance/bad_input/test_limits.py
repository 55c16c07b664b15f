"""Too much memory, too much time, no space left: each ends its run, and only that."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from edgeproof.client import ControlPlaneClient, RetryPolicy
from edgeproof.contract.errors import Unavailable
from edgeproof.testing.small_disk import can_mount, with_small_disk

from . import inputs
from .system import EDGEPROOF, System, analysed, demand_failed, environment, eventually, upload

needs_mount = pytest.mark.skipif(not can_mount(), reason="needs a mount namespace of its own")


async def test_a_tensor_that_cannot_be_allocated(system: System, user: ControlPlaneClient) -> None:
    job = await analysed(user, inputs.too_large_a_tensor())
    demand_failed(job, "memory_limit", "forge", system)


async def test_more_than_its_limit_of_memory(system: System, user: ControlPlaneClient) -> None:
    """400 MB a turn, and a limit of 300 MiB: the allocator says no."""
    limits = {"max_memory_bytes": 300 << 20, "max_seconds": 60}
    job = await analysed(user, inputs.endless(100_000_000), limits=limits)
    demand_failed(job, "memory_limit", "forge", system)


@pytest.mark.parametrize("mebibytes", [64, 80])
async def test_less_memory_than_the_toolchain_itself_needs(
    system: System, user: ControlPlaneClient, mebibytes: int
) -> None:
    """The interpreter runs out of it: a MemoryError, a library that cannot be mapped, or a signal."""
    job = await analysed(user, inputs.linear(seed=mebibytes), limits={"max_memory_bytes": mebibytes << 20})
    demand_failed(job, "memory_limit", "forge", system)


async def test_more_than_its_limit_of_time(system: System, user: ControlPlaneClient) -> None:
    job = await analysed(user, inputs.endless(1000), limits={"max_seconds": 2})
    words = demand_failed(job, "time_limit", "forge", system)
    assert "2 s" in words


@contextlib.asynccontextmanager
async def another_runner(system: System, home: Path, *options: str, space: str | None) -> AsyncIterator[str]:
    """A second runner, by its id; with ``space`` its folder is a file system of that size."""
    home.mkdir(mode=0o700)
    async with system.admin() as admin:
        known: set[str] = set()
        async with asyncio.timeout(60):
            while not known:  # the system's own is not to be taken for the other one
                known = {one.runner_id for one in (await admin.runners()).runners}
        token = await admin.create_enrolment_token()
        command = [*EDGEPROOF, "runner", "start", system.address, "--home", str(home), *options]
        if space is not None:
            command = with_small_disk(home, space, command)
        with started(command, token) as process:
            found: set[str] = set()
            async with asyncio.timeout(60):
                while not found:
                    assert process.poll() is None
                    found = {one.runner_id for one in (await admin.runners()).runners} - known
            yield found.pop()
            assert process.poll() is None


@contextlib.contextmanager
def started(command: list[str], token: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        command, env=environment(EDGEPROOF_TOKEN=token), stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


async def test_a_runner_that_can_only_watch(system: System, user: ControlPlaneClient, tmp_path: Path) -> None:
    """Without any isolation no allocation is refused: the runner sees the memory grow, and ends it."""
    home = tmp_path / "home"
    async with another_runner(system, home, "--isolation", "none", space=None) as runner:
        limits = {"max_memory_bytes": 400 << 20, "max_seconds": 60}
        job = await analysed(user, inputs.endless(150_000_000), runner=runner, limits=limits)
        words = demand_failed(job, "memory_limit", "forge", system)
        assert "419430400 bytes" in words
        eventually(lambda: not list((home / "work").iterdir()), "the workspace is gone")


@needs_mount
@pytest.mark.parametrize("space", ["1m", "3m"])
async def test_a_runner_with_a_full_disk(
    system: System, user: ControlPlaneClient, tmp_path: Path, space: str
) -> None:
    """2 MB of model: in 1 MiB it does not even arrive, in 3 MiB there is no room to work on it."""
    async with another_runner(system, tmp_path / "home", space=space) as runner:
        large = inputs.linear(features=1 << 17)
        assert len(large) > 2_000_000
        job = await analysed(user, large, runner=runner)
        demand_failed(job, "disk_full", "forge", system)
        # It lives, has cleaned up, and does what its disk allows.
        job = await analysed(user, inputs.linear()[:-40], runner=runner)
        demand_failed(job, "model_truncated", "forge", system)


@needs_mount
async def test_a_server_with_a_full_disk(small_system: System, tmp_path: Path) -> None:
    """8 MiB of space: what does not fit is refused, and takes nothing from what comes next."""
    large = tmp_path / "large"
    large.write_bytes(b"x" * (16 << 20))
    once = RetryPolicy(attempts=1)
    token = small_system.credentials.user_token
    async with ControlPlaneClient(small_system.address, token=token, retry=once) as client:
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                await client.publish(large)
            assert caught.value.code == "disk_full"
        small = (await upload(client, b"x" * (4 << 20))).removeprefix("sha256:")
        assert len(await client.fetch(small, max_bytes=8 << 20)) == 4 << 20
        await client.health()
