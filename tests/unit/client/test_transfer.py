"""Downloads: whole or not at all, resumed behind what arrived, and never other bytes than those named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest

from edgeproof.client.exchange import RetryPolicy
from edgeproof.client.transport import ControlPlaneClient
from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import ArtifactInfo
from edgeproof.domain.runs import new_lease

DATA = bytes(range(256)) * 4096
DIGEST = sha256_hex(DATA)


async def _no_pause(_: float) -> None:
    return


class Store:
    """Serves ``DATA`` with ranges; each of the first answers is cut after so many bytes."""

    def __init__(self, *cuts: int, data: bytes = DATA) -> None:
        self.asked: list[str | None] = []
        self.requests: list[httpx.Request] = []
        self._cuts = list(cuts)
        self._data = data

    def client(self) -> ControlPlaneClient:
        retry = RetryPolicy(attempts=3, sleep=_no_pause)
        return ControlPlaneClient(
            "http://127.0.0.1:1", retry=retry, transport=httpx.MockTransport(self._answer)
        )

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.method == "PUT":
            body = await request.aread()
            info = ArtifactInfo(digest=sha256_hex(body), size=len(body))
            return httpx.Response(200, content=msgspec.json.encode(info))
        asked = request.headers.get("range")
        self.asked.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start >= len(self._data):
            return httpx.Response(
                416, content=msgspec.json.encode(Refused("range_not_satisfiable").problem())
            )
        body = self._cut(self._data[start:])
        return httpx.Response(206 if asked else 200, content=body)

    async def _cut(self, data: bytes) -> AsyncIterator[bytes]:
        if not self._cuts:
            yield data
            return
        yield data[: self._cuts.pop(0)]
        raise httpx.ReadError("cut")


async def test_a_broken_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    store = Store(300_000, 400_000)
    await store.client().download(DIGEST, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == DATA
    assert store.asked == [None, "bytes=262144-", "bytes=524288-"]
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize(("left", "asked"), [(b"", [None]), (b"some", ["bytes=4-", None])])
async def test_other_bytes_than_those_named_are_refused_and_not_kept(
    tmp_path: Path, left: bytes, asked: list[str | None]
) -> None:
    if left:
        (tmp_path / f".model.onnx.{DIGEST[:16]}.part").write_bytes(left)
    store = Store(data=b"something else")
    with pytest.raises(Refused) as caught:
        await store.client().download(DIGEST, tmp_path / "model.onnx")
    assert caught.value.code == "artifact_digest_mismatch"
    assert store.asked == asked
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [1000, len(DATA), len(DATA) + 1])
async def test_a_damaged_part_file_is_given_up_for_a_whole_download(tmp_path: Path, length: int) -> None:
    (tmp_path / f".model.onnx.{DIGEST[:16]}.part").write_bytes(bytes(length))
    store = Store()
    await store.client().download(DIGEST, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == DATA
    assert store.asked == [f"bytes={length}-", None]
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


async def test_a_whole_part_file_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / f".model.onnx.{DIGEST[:16]}.part").write_bytes(DATA)
    await Store().client().download(DIGEST, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == DATA


async def test_fetch_is_bounded_and_checked() -> None:
    assert await Store().client().fetch(DIGEST, max_bytes=len(DATA)) == DATA
    with pytest.raises(Refused) as caught:
        await Store().client().fetch(DIGEST, max_bytes=len(DATA) - 1)
    assert caught.value.code == "body_too_large"
    with pytest.raises(Refused) as caught:
        await Store(data=b"other").client().fetch(DIGEST, max_bytes=1000)
    assert caught.value.code == "artifact_digest_mismatch"


async def test_an_upload_is_streamed_under_its_digest_and_its_lease(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(DATA)
    store, lease = Store(), new_lease(2)
    await store.client().upload(file, DIGEST, run_id="run-1", lease=lease)
    sent = store.requests[0]
    assert sent.url.path == f"/api/artifacts/sha256/{DIGEST}"
    assert dict(sent.url.params) == {"run_id": "run-1"}
    assert sent.headers["edgeproof-lease"] == f"2.{lease.token}"
    assert sent.headers["content-length"] == str(len(DATA))
    assert (await store.client().publish(file)).digest == DIGEST


async def test_a_file_that_is_not_there_is_the_users_fault(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        await Store().client().publish(tmp_path / "absent")
    assert caught.value.code == "invalid_request"
