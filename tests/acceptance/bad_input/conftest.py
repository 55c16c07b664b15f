"""One system for all tests of this folder, looked over after each; a second one where leases are short."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from edgeproof.client import ControlPlaneClient
from edgeproof.testing.small_disk import can_mount

from .system import System, eventually, running

ARTIFACT_SPACE = "8m"


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Control plane, PostgreSQL and one runner, none of which may end before the last test has."""
    with running(tmp_path_factory.mktemp("system")) as started:
        eventually(lambda: len(started.children()) == 2, "server and runner are there")
        yield started


@pytest.fixture(scope="package")
def small_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """No runner of its own, leases of two seconds, and 8 MiB for artifacts where that can be had."""
    space = ARTIFACT_SPACE if can_mount() else None
    with running(
        tmp_path_factory.mktemp("small"),
        "--no-runner", "--lease-seconds", "2", "--heartbeat-seconds", "1", artifact_space=space,
    ) as started:  # fmt: skip
        yield started


@pytest.fixture(scope="package")
def processes(system: System) -> dict[str, int]:
    return system.children()


@pytest.fixture(autouse=True)
async def unharmed(system: System, processes: dict[str, int]) -> AsyncIterator[None]:
    """After every test: the same processes, nothing half-written, no job under way."""
    yield
    assert system.children() == processes, system.log.read_text()[-4000:]
    eventually(lambda: not system.leftovers(), f"left behind: {system.leftovers()}")
    async with system.client() as client:
        await client.health()
        for status in ("queued", "running"):
            assert (await client.jobs(status=status)).jobs == ()


@pytest.fixture
async def user(system: System) -> AsyncIterator[ControlPlaneClient]:
    async with system.client() as client:
        yield client


@pytest.fixture
async def raw(system: System) -> AsyncIterator[httpx.AsyncClient]:
    """Plain HTTP as the user, for what the client would never send."""
    headers = {"Authorization": f"Bearer {system.credentials.user_token}"}
    async with httpx.AsyncClient(
        base_url=system.ready.url, headers=headers, trust_env=False, timeout=30
    ) as client:
        yield client
