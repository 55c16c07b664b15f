"""Peers that are many, silent or slow hold nothing up but themselves."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from edgeproof.client import Client

from .running_system import Up, up

pytestmark = pytest.mark.slow

STREAMS = 1000
IDLE = 1500
LARGE_BYTES = 64 << 20
SECONDS = 120
Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(autouse=True)
def few_files() -> Iterator[None]:
    """The usual soft limit of a login for what is started here, and enough for the test itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = STREAMS + IDLE + 500
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"needs {needed} open files, the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def system(data_dir: Path, few_files: None) -> Iterator[Up]:
    with up(data_dir, "--no-runner") as started:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        yield started


@pytest.fixture
def client(system: Up) -> Client:
    return system.client()


@contextlib.asynccontextmanager
async def connected(system: Up, count: int, request: bytes = b"") -> AsyncIterator[list[Peer]]:
    port = int(system.ready.url.rpartition(":")[2])
    peers: list[Peer] = []
    try:
        for _ in range(count):
            peers.append(await asyncio.open_connection("127.0.0.1", port))
            peers[-1][1].write(request)
        yield peers
    finally:
        for _, writer in peers:
            writer.close()


def head(system: Up, method: str, path: str, *more: str) -> bytes:
    token = f"Authorization: Bearer {system.credentials.user_token}"
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", token, *more, "", ""]).encode()


def test_a_thousand_streams(system: Up, client: Client, tmp_path: Path) -> None:
    """All stand, others are answered meanwhile, each is told the end; and the server ends with them open."""
    (tmp_path / "model").write_bytes(b"a model")
    job, other = (client.analyze(tmp_path / "model", options={"batch": 1}) for _ in range(2))

    async def follow() -> None:
        stream = head(system, "GET", f"/api/jobs/{job.job_id}/events")
        async with connected(system, STREAMS, stream) as peers, asyncio.timeout(SECONDS):
            for reader, _ in peers:
                assert await reader.readuntil(b"event: status\n")
            assert (await asyncio.to_thread(other.refresh)).status == "queued"
            await asyncio.to_thread(job.cancel)
            for reader, _ in peers:
                assert await reader.readuntil(b"event: end\n")

    async def follow_to_the_servers_end() -> None:
        stream = head(system, "GET", f"/api/jobs/{other.job_id}/events")
        async with connected(system, STREAMS, stream) as peers, asyncio.timeout(SECONDS):
            for reader, _ in peers:
                assert await reader.readuntil(b"event: status\n")
            system.process.send_signal(signal.SIGINT)
            for reader, _ in peers:
                assert b"event: end" not in await reader.read()
            assert await asyncio.to_thread(system.process.wait, SECONDS) == 0

    asyncio.run(follow())
    asyncio.run(follow_to_the_servers_end())


def test_silent_connections_are_answered_around_and_let_go(system: Up, client: Client) -> None:
    """Some say nothing, some half a head; the server ends both kinds by itself."""

    async def hold() -> None:
        half = head(system, "GET", "/api/jobs")[:-4]
        async with connected(system, IDLE) as silent, connected(system, 100, half) as unfinished:
            assert await asyncio.to_thread(client.jobs)
            async with asyncio.timeout(SECONDS):
                for reader, _ in (*unfinished, *silent):
                    await reader.read()

    asyncio.run(hold())
    assert client.jobs().jobs == ()


def test_a_byte_every_five_seconds(system: Up, client: Client) -> None:
    """By the limits that ship. Others are answered meanwhile, and the slow one learns why it is not."""

    async def trickle() -> bytes:
        begun = head(system, "POST", "/api/analyze", "Content-Type: application/json", "Content-Length: 900")
        async with connected(system, 200, begun) as peers, asyncio.timeout(SECONDS):
            answered = asyncio.ensure_future(peers[0][0].read(4096))
            while not answered.done():
                for _, writer in peers:
                    writer.write(b"{")
                assert await asyncio.to_thread(client.jobs)
                await asyncio.wait({answered}, timeout=5)
            return await answered

    answer = asyncio.run(trickle())
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"body_too_slow"' in answer


def test_peers_that_do_not_read_what_they_asked_for(system: Up, client: Client, tmp_path: Path) -> None:
    """What they leave unread stays on the disk: the server neither buffers it nor waits for them."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(LARGE_BYTES)
    digest = client.upload(large).removeprefix("sha256:")
    server = system.child("server")
    before = server.memory_info().rss

    async def ask() -> int:
        download = head(system, "GET", f"/api/artifacts/sha256/{digest}")
        async with connected(system, 40, download) as peers, asyncio.timeout(SECONDS):
            for reader, _ in peers:
                assert await reader.readexactly(15) == b"HTTP/1.1 200 OK"
            for _ in range(20):
                assert await asyncio.to_thread(client.jobs)
            return server.memory_info().rss - before

    assert asyncio.run(ask()) < 4 * LARGE_BYTES, "of 40 times as much"
