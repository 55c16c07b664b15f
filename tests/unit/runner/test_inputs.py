"""The input cache: right bytes or none, and within its bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeproof.contract.canonical import sha256_hex
from edgeproof.runner.inputs import InputCache


class Source:
    """Counts what is fetched."""

    def __init__(self, *blobs: bytes) -> None:
        self.blobs = {sha256_hex(blob): blob for blob in blobs}
        self.fetched: list[str] = []

    async def fetch(self, digest: str, path: Path) -> None:
        self.fetched.append(digest)
        path.write_bytes(self.blobs[digest])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "inputs"
    made.mkdir()
    return made


async def test_a_kept_input_is_not_fetched_again(folder: Path, tmp_path: Path) -> None:
    source, cache = Source(b"model"), InputCache(folder)
    for _ in range(2):
        await cache.place(sha256_hex(b"model"), source.fetch, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"model"
    assert len(source.fetched) == 1


async def test_a_damaged_input_is_fetched_again(folder: Path, tmp_path: Path) -> None:
    source, cache, digest = Source(b"model"), InputCache(folder), sha256_hex(b"model")
    (folder / digest).write_bytes(b"damage")
    await cache.place(digest, source.fetch, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"model"


async def test_what_is_handed_out_is_a_copy(folder: Path, tmp_path: Path) -> None:
    source, cache, digest = Source(b"model"), InputCache(folder), sha256_hex(b"model")
    await cache.place(digest, source.fetch, tmp_path / "copy")
    (tmp_path / "copy").write_bytes(b"spoilt")
    assert (folder / digest).read_bytes() == b"model"


async def test_the_oldest_goes_beyond_the_bound(folder: Path, tmp_path: Path) -> None:
    blobs = [bytes([number]) * 100 for number in range(3)]
    source, cache = Source(*blobs), InputCache(folder, bound=250)
    for blob in blobs:
        await cache.place(sha256_hex(blob), source.fetch, tmp_path / "copy")
    assert {path.name for path in folder.iterdir()} == {sha256_hex(blob) for blob in blobs[1:]}
