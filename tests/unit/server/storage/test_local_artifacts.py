"""Bytes on disk: whole or not at all."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgeproof.contract.errors import Refused, Unavailable
from edgeproof.server.storage.local_artifacts import LocalArtifacts

DATA = os.urandom(3 << 20)
DIGEST = hashlib.sha256(DATA).hexdigest()


async def chunks_of(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def kept(store: LocalArtifacts, data: bytes = DATA) -> str:
    async with store.receive(chunks_of(data), max_bytes=len(data)) as received:
        await received.keep()
        return received.digest


async def read(store: LocalArtifacts, start: int, end: int) -> bytes:
    return b"".join([block async for block in store.read(DIGEST, start, end)])


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


async def test_what_was_kept_reads_back_whole_and_in_part(tmp_path: Path) -> None:
    store = LocalArtifacts(tmp_path)
    assert await kept(store) == DIGEST
    assert await store.size(DIGEST) == len(DATA)
    assert await read(store, 0, len(DATA)) == DATA
    assert await read(store, 1_500_000, 1_500_007) == DATA[1_500_000:1_500_007]
    assert await read(store, len(DATA) - 1, len(DATA)) == DATA[-1:]


async def test_an_empty_artifact_is_one(tmp_path: Path) -> None:
    store = LocalArtifacts(tmp_path)
    digest = await kept(store, b"")
    assert await store.size(digest) == 0


async def test_keeping_again_changes_nothing(tmp_path: Path) -> None:
    store = LocalArtifacts(tmp_path)
    await kept(store)
    before = files(tmp_path)[0].stat()
    await kept(store)
    assert [path.stat().st_ino for path in files(tmp_path)] == [before.st_ino]


async def test_what_is_not_kept_is_discarded(tmp_path: Path) -> None:
    store = LocalArtifacts(tmp_path)
    async with store.receive(chunks_of(DATA), max_bytes=len(DATA)) as received:
        assert (received.digest, received.size) == (DIGEST, len(DATA))
    assert files(tmp_path) == []
    assert await store.size(DIGEST) is None


async def test_an_upload_that_stops_half_way_leaves_nothing(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield DATA[: len(DATA) // 2]
        assert files(tmp_path), "half of it should be there by now"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        async with LocalArtifacts(tmp_path).receive(broken(), max_bytes=len(DATA)):
            pytest.fail("half an upload was received")
    assert files(tmp_path) == []


async def test_an_upload_over_its_limit_stops_there(tmp_path: Path) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 100

    with pytest.raises(Refused) as refused:
        async with LocalArtifacts(tmp_path).receive(endless(), max_bytes=1000):
            pytest.fail("too much was received")
    assert refused.value.code == "body_too_large"
    assert taken == 11
    assert files(tmp_path) == []


async def test_reading_and_deleting_what_is_not_there(tmp_path: Path) -> None:
    store = LocalArtifacts(tmp_path)
    with pytest.raises(Refused) as refused:
        await read(store, 0, 1)
    assert refused.value.code == "not_found"
    await store.delete(DIGEST)


@pytest.mark.parametrize("name", ["../" * 10 + "etc/passwd", DIGEST.upper(), "a" * 63, "/" + "a" * 63])
async def test_only_a_digest_becomes_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        await LocalArtifacts(tmp_path).size(name)


async def test_sweeping_takes_only_what_is_old(tmp_path: Path) -> None:
    store = LocalArtifacts(tmp_path)
    await kept(store)
    leftover = tmp_path / "incoming" / "leftover"
    leftover.write_bytes(b"half")
    assert await store.sweep(3600) == 0
    os.utime(leftover, (0, 0))
    assert await store.sweep(3600) == 1
    assert await store.size(DIGEST) == len(DATA)


async def test_what_has_no_digests_name_is_not_told_and_harms_nothing(tmp_path: Path) -> None:
    store = LocalArtifacts(tmp_path)
    await kept(store)
    shard = tmp_path / "sha256" / DIGEST[:2]
    for foreign in (tmp_path / "sha256" / ".DS_Store", shard / ".nfs000000000001", shard / DIGEST.upper()):
        foreign.write_bytes(b"")
    assert [name async for name in store.kept()] == [DIGEST]


async def test_a_folder_among_what_arrives_stops_no_sweep(tmp_path: Path) -> None:
    store = LocalArtifacts(tmp_path)
    for name in ("a", "c"):
        (tmp_path / "incoming" / name).write_bytes(b"half")
    (tmp_path / "incoming" / "b").mkdir()
    assert await store.sweep(-5) == 2
    assert [path.name for path in (tmp_path / "incoming").iterdir()] == ["b"]


FULL_DISK = """
import asyncio, resource, sys
from pathlib import Path
from edgeproof.contract.errors import Unavailable
from edgeproof.server.storage.local_artifacts import LocalArtifacts

async def main(root):
    store = LocalArtifacts(root)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    async def chunks():
        for _ in range(40):
            yield b"x" * 100_000
    try:
        async with store.receive(chunks(), max_bytes=1 << 30):
            print("received")
    except Unavailable as error:
        print(error.code, [path for path in root.rglob("*") if path.is_file()])

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.strip() == "disk_full []"


async def test_a_full_file_system_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here; the file size limit above shows the same road")
    try:
        with pytest.raises(Unavailable) as failed:
            async with LocalArtifacts(tmp_path).receive(chunks_of(DATA), max_bytes=len(DATA)):
                pytest.fail("more was received than there is space")
        assert failed.value.code == "disk_full"
        assert files(tmp_path) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
