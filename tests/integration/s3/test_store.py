"""Both stores keep the port's promises; the object store's direct uploads keep theirs."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import httpx
import obstore
import pytest
from obstore.store import S3Store

from edgeproof.contract.errors import Refused, Unavailable
from edgeproof.server.storage.local_artifacts import LocalArtifacts
from edgeproof.server.storage.s3_artifacts import S3Artifacts, S3Received
from edgeproof.testing.artifact_stores import CHECKS, Check, kept, pieces, sha256

from .conftest import bucket


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_folder_keeps_the_ports_promises(check: Check, tmp_path: Path) -> None:
    await check(LocalArtifacts(tmp_path))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_bucket_keeps_the_ports_promises(check: Check, s3_artifacts: S3Artifacts) -> None:
    await check(s3_artifacts)


async def put(url: str, data: bytes) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.put(url, content=data)).status_code


@pytest.mark.parametrize("size", [5, 9 << 20])
async def test_a_direct_upload_is_kept_under_the_digest_it_has(s3_artifacts: S3Artifacts, size: int) -> None:
    data = os.urandom(size)
    url = await s3_artifacts.offer("one", 60)
    assert url is not None
    assert await put(url, data) == 200
    async with s3_artifacts.adopt("one", max_bytes=size) as received:
        assert (received.digest, received.size) == (sha256(data), size)
        # What the URL writes now is not what was hashed, and not what is kept.
        assert await put(url, b"other bytes") == 200
        await received.keep()
    assert b"".join([block async for block in s3_artifacts.read(sha256(data), 0, size)]) == data
    assert await kept(s3_artifacts) == {sha256(data)}
    assert await s3_artifacts.sweep(0) == 0


async def test_a_direct_upload_that_is_too_large_is_forgotten(s3_artifacts: S3Artifacts) -> None:
    url = await s3_artifacts.offer("one", 60)
    assert url is not None
    await put(url, b"12345")
    with pytest.raises(Refused) as caught:
        async with s3_artifacts.adopt("one", max_bytes=4):
            pass
    assert caught.value.code == "body_too_large"
    assert await s3_artifacts.sweep(0) == 0


class FinishedMeanwhile(S3Artifacts):
    """Another finish of the same upload ends between two steps of this one."""

    async def _size(self, path: str) -> int | None:
        size = await super()._size(path)
        await self._remove(path)
        return size


async def test_of_two_finishes_of_one_upload_the_later_finds_nothing(
    s3_artifacts: S3Artifacts, s3_store: S3Store
) -> None:
    url = await s3_artifacts.offer("one", 60)
    assert url is not None
    await put(url, b"12345")
    with pytest.raises(Refused) as caught:
        async with FinishedMeanwhile(s3_store).adopt("one", max_bytes=5):
            pass
    assert caught.value.code == "not_found"


async def test_what_was_swept_before_it_was_kept_is_not_there(s3_artifacts: S3Artifacts) -> None:
    url = await s3_artifacts.offer("one", 60)
    assert url is not None
    await put(url, b"12345")
    async with s3_artifacts.adopt("one", max_bytes=5) as received:
        assert await s3_artifacts.sweep(-5) == 2
        with pytest.raises(Refused) as caught:
            await received.keep()
    assert caught.value.code == "not_found"
    assert await kept(s3_artifacts) == set()


async def test_a_url_for_one_name_writes_no_other(s3_artifacts: S3Artifacts) -> None:
    url = await s3_artifacts.offer("one", 60)
    assert url is not None
    assert await put(url.replace("/direct/one", "/direct/two"), b"x") == 403
    assert await put(url.replace("incoming/direct/one", "sha256/00/" + "0" * 64), b"x") == 403
    assert await kept(s3_artifacts) == set()


async def test_uploads_that_nobody_finished_are_swept_by_age(
    s3_artifacts: S3Artifacts, s3_store: S3Store
) -> None:
    url = await s3_artifacts.offer("abandoned", 60)
    assert url is not None
    await put(url, b"x")
    await obstore.put_async(s3_store, "incoming/killed", b"y")
    assert await s3_artifacts.sweep(3600) == 0
    assert await s3_artifacts.sweep(-5) == 2
    assert await s3_artifacts.sweep(-5) == 0


async def test_what_has_no_digests_name_is_not_told(s3_artifacts: S3Artifacts, s3_store: S3Store) -> None:
    for foreign in ("sha256/00/README.txt", "sha256/.DS_Store", "sha256/AB/" + "AB" * 32):
        await obstore.put_async(s3_store, foreign, b"x")
    async with s3_artifacts.receive(pieces(b"x"), max_bytes=1) as received:
        await received.keep()
    assert await kept(s3_artifacts) == {sha256(b"x")}


async def test_a_store_that_is_away_is_weather(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Unavailable) as caught:
        await S3Artifacts(bucket("http://127.0.0.1:9", prefix="inner")).size("0" * 64)
    assert caught.value.code == "unavailable"
    # Where it lies is the operator's to know, not the user's.
    assert caught.value.detail == "the object store gives no answer"
    assert "127.0.0.1:9/edgeproof/inner" in caplog.text


async def test_a_bucket_that_is_not_there_is_found_out_by_asking_what_it_keeps(s3_endpoint: str) -> None:
    store = S3Artifacts(bucket(s3_endpoint, name="another"))
    assert await store.size("0" * 64) is None
    with pytest.raises(Unavailable):
        await anext(store.kept(), None)


async def test_many_at_once(s3_artifacts: S3Artifacts) -> None:
    async def one(number: int) -> str:
        async def chunks() -> object:
            yield number.to_bytes(4, "big") * 1000

        async with s3_artifacts.receive(chunks(), max_bytes=4000) as received:
            await received.keep()
            return received.digest

    digests = await asyncio.gather(*(one(number % 8) for number in range(40)))
    assert await kept(s3_artifacts) == set(digests)


@pytest.mark.parametrize("arrived", [{"data": b"x"}, {"path": "incoming/x"}])
async def test_a_store_that_never_answers_is_given_up(arrived: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = bucket(f"http://127.0.0.1:{silent.getsockname()[1]}")
        received = S3Received(store, sha256(b"x"), 1, keep_seconds=0.2, **arrived)
        async with asyncio.timeout(20):
            with pytest.raises(Unavailable, match="no answer"):
                await received.keep()
