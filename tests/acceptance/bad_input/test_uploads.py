"""Uploads that stop, lie, or are too large or too slow leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from edgeproof.client import ControlPlaneClient
from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.errors import Refused

from .system import System, eventually


def stored(system: System, digest: str) -> bool:
    return (system.data_dir / "artifacts" / "sha256" / digest[:2] / digest).exists()


@contextlib.asynccontextmanager
async def half_a_request(
    system: System, line: str, length: int, body: bytes
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which ``body`` was sent although ``length`` bytes were announced."""
    host, _, port = system.ready.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        head = [
            f"{line} HTTP/1.1", "Host: x", f"Authorization: Bearer {system.credentials.user_token}",
            f"Content-Length: {length}",
        ]  # fmt: skip
        writer.write("\r\n".join([*head, "", ""]).encode() + body)
        await writer.drain()
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_an_upload_that_stops_half_way(system: System, user: ControlPlaneClient) -> None:
    data = b"half of it never comes" * 100_000
    digest = sha256_hex(data)
    line = f"PUT /api/artifacts/sha256/{digest}"
    incoming = system.data_dir / "artifacts" / "incoming"
    async with half_a_request(system, line, len(data), data[: len(data) // 2]):
        await asyncio.to_thread(eventually, lambda: any(incoming.iterdir()), "the upload began")
    await asyncio.to_thread(eventually, lambda: not any(incoming.iterdir()), "the half is gone")
    assert not stored(system, digest)
    with pytest.raises(Refused) as caught:
        await user.fetch(digest, max_bytes=1 << 22)
    assert caught.value.code == "not_found"
    assert (await user.upload_bytes(data)).digest == digest


@pytest.mark.parametrize("data", [b"other bytes", b""])
async def test_bytes_that_do_not_match_their_name(
    system: System, raw: httpx.AsyncClient, data: bytes
) -> None:
    digest = sha256_hex(b"the bytes that were announced")
    response = await raw.put(f"/api/artifacts/sha256/{digest}", content=data)
    assert response.json()["code"] == "artifact_digest_mismatch"
    assert not stored(system, digest)


@pytest.mark.parametrize("name", ["0" * 63, "Z" * 64, "A" * 64, "..%2f..%2fup.lock", "%00"])
async def test_names_that_are_no_digests(raw: httpx.AsyncClient, name: str) -> None:
    response = await raw.put(f"/api/artifacts/sha256/{name}", content=b"x")
    assert response.json()["code"] == "not_found"


async def test_an_announced_length_over_the_limit(system: System) -> None:
    """Refused before a byte of it is taken."""
    line = f"PUT /api/artifacts/sha256/{'0' * 64}"
    async with half_a_request(system, line, 1 << 40, b"") as (reader, writer):
        writer.write_eof()
        async with asyncio.timeout(20):
            answer = await reader.read(1 << 16)
    assert answer.startswith(b"HTTP/1.1 413"), answer
    assert b'"code":"body_too_large"' in answer


async def test_a_body_that_stops_coming(system: System) -> None:
    """One byte and no more, for a request and for an upload at once: both answered 408."""

    async def wait_for_answer(line: str) -> bytes:
        async with half_a_request(system, line, 1000, b"{") as (reader, _), asyncio.timeout(30):
            return await reader.readuntil(b"}")

    lines = ("POST /api/analyze", f"PUT /api/artifacts/sha256/{'0' * 64}")
    for answer in await asyncio.gather(*(wait_for_answer(line) for line in lines)):
        assert answer.startswith(b"HTTP/1.1 408"), answer
        assert b'"code":"body_too_slow"' in answer


async def test_a_file_that_cannot_be_read(user: ControlPlaneClient, tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(Refused) as caught:
            await user.publish(path)
        assert caught.value.code == "invalid_request"
