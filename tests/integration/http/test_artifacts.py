"""Artifacts over real HTTP: whole, in parts, cut off, misnamed, and somebody else's."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import httpx
import pytest

from edgeproof.client import ControlPlaneClient
from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.errors import Refused
from edgeproof.server.plane.control_plane import ControlPlane

DATA = os.urandom(3 << 20)
DIGEST = sha256_hex(DATA)
PATH = f"/api/artifacts/sha256/{DIGEST}"


@pytest.fixture
async def uploaded(user: ControlPlaneClient, tmp_path: Path) -> str:
    file = tmp_path / "source.onnx"
    file.write_bytes(DATA)
    info = await user.publish(file)
    assert (info.digest, info.size) == (DIGEST, len(DATA))
    return info.digest


def blobs(root: Path) -> list[Path]:
    """Every file below the artifact folder, finished or not."""
    return [path for path in (root / "artifacts").rglob("*") if path.is_file()]


async def test_there_and_back(user: ControlPlaneClient, uploaded: str, tmp_path: Path) -> None:
    await user.download(uploaded, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == DATA
    assert await user.fetch(uploaded, max_bytes=len(DATA)) == DATA


async def test_an_empty_artifact(user: ControlPlaneClient, tmp_path: Path) -> None:
    info = await user.upload_bytes(b"")
    await user.download(info.digest, tmp_path / "empty")
    assert (tmp_path / "empty").read_bytes() == b""


async def test_ranges(raw: httpx.AsyncClient, uploaded: str) -> None:
    whole = await raw.get(PATH)
    assert (whole.status_code, whole.content) == (200, DATA)
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["content-length"] == str(len(DATA))
    part = await raw.get(PATH, headers={"Range": "bytes=1000000-1000009"})
    assert (part.status_code, part.content) == (206, DATA[1_000_000:1_000_010])
    assert part.headers["content-range"] == f"bytes 1000000-1000009/{len(DATA)}"
    tail = await raw.get(PATH, headers={"Range": "bytes=-5", "If-Range": whole.headers["etag"]})
    assert (tail.status_code, tail.content) == (206, DATA[-5:])
    changed = await raw.get(PATH, headers={"Range": "bytes=-5", "If-Range": '"other"'})
    assert changed.status_code == 200
    outside = await raw.get(PATH, headers={"Range": f"bytes={len(DATA)}-"})
    assert (outside.status_code, outside.json()["code"]) == (416, "range_not_satisfiable")


async def test_head(raw: httpx.AsyncClient, uploaded: str) -> None:
    there = await raw.head(PATH)
    assert (there.status_code, there.content) == (200, b"")
    assert there.headers["content-length"] == str(len(DATA))
    assert (await raw.head(f"/api/artifacts/sha256/{'0' * 64}")).status_code == 404


async def test_lost_bytes_are_told_and_not_asked_for_again(
    user: ControlPlaneClient, raw: httpx.AsyncClient, uploaded: str, tmp_path: Path
) -> None:
    for blob in blobs(tmp_path):
        blob.unlink()
    with pytest.raises(Refused) as caught:
        await user.download(uploaded, tmp_path / "copy")
    assert (caught.value.code, caught.value.status) == ("artifact_lost", 410)
    assert (await raw.head(PATH)).status_code == 410


async def test_another_users_artifact_answers_like_an_absent_one(
    uploaded: str, other_user: ControlPlaneClient, tmp_path: Path
) -> None:
    details = []
    for digest in (uploaded, "0" * 64):
        with pytest.raises(Refused) as caught:
            await other_user.download(digest, tmp_path / "copy")
        details.append((caught.value.code, caught.value.detail))
    assert details[0] == details[1]
    assert details[0][0] == "not_found"
    assert not (tmp_path / "copy").exists()


async def test_bytes_that_are_not_those_named_leave_nothing(raw: httpx.AsyncClient, tmp_path: Path) -> None:
    response = await raw.put(PATH, content=b"something else")
    assert (response.status_code, response.json()["code"]) == (400, "artifact_digest_mismatch")
    assert blobs(tmp_path) == []
    assert (await raw.head(PATH)).status_code == 404


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_upload_that_stops_half_way_leaves_nothing(
    server: ControlPlane, user: ControlPlaneClient, port: int, tmp_path: Path, chunked: bool
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(DATA)}"
    writer.write(
        f"PUT {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\n{framing}\r\n\r\n".encode()
    )
    half = DATA[: len(DATA) // 2]
    writer.write(b"%x\r\n%s\r\n" % (len(half), half) if chunked else half)
    await writer.drain()
    async with asyncio.timeout(20):
        while not blobs(tmp_path):
            await asyncio.sleep(0.01)
        writer.transport.abort()
        while blobs(tmp_path):
            await asyncio.sleep(0.01)
    with pytest.raises(Refused) as caught:
        await user.fetch(DIGEST, max_bytes=1)
    assert caught.value.code == "not_found"
    assert await user.upload_bytes(DATA)
