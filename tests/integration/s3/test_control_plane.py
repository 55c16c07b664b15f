"""Control planes on a bucket: replicas share it, large uploads go past them, and nothing counts unchecked."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from granian.constants import Interfaces
from granian.server.embed import Server
from obstore.store import S3Store

from edgeproof.client import ControlPlaneClient, RetryPolicy
from edgeproof.client.direct_upload import DIRECT_BYTES
from edgeproof.contract.errors import Refused
from edgeproof.http.application import create_app
from edgeproof.server.artifacts.artifacts import open_artifact, put_artifact
from edgeproof.server.artifacts.direct_uploads import finish_upload, offer_upload
from edgeproof.server.plane.control_plane import ControlPlane, Principal, Settings, open_control_plane
from edgeproof.server.plane.principals import authenticate, create_principal
from edgeproof.server.storage.s3_artifacts import S3Artifacts
from edgeproof.testing.artifact_stores import altered, pieces, sha256

LARGE = os.urandom(DIRECT_BYTES + 1)


@pytest.fixture
async def plane(fresh_dsn: str, settings: Settings, s3_store: S3Store) -> AsyncIterator[ControlPlane]:
    opened = await open_control_plane(fresh_dsn, S3Artifacts(s3_store), settings)
    yield opened
    await opened.close()


@pytest.fixture
async def replica(fresh_dsn: str, settings: Settings, s3_store: S3Store) -> AsyncIterator[ControlPlane]:
    opened = await open_control_plane(fresh_dsn, S3Artifacts(s3_store), settings)
    yield opened
    await opened.close()


@pytest.fixture
async def user(plane: ControlPlane) -> Principal:
    return await authenticate(plane, await create_principal(plane, "user", "engineer"))


async def refusal(work: object) -> str:
    with pytest.raises(Refused) as caught:
        await work  # type: ignore[misc]  # any awaitable
    return caught.value.code


async def test_what_one_replica_took_the_other_reads(
    plane: ControlPlane, replica: ControlPlane, user: Principal
) -> None:
    for data in (b"small", LARGE):
        await put_artifact(plane, user, sha256(data), pieces(data))
        stored = await open_artifact(replica, user, sha256(data))
        assert b"".join([block async for block in stored.read()]) == data


async def test_offered_by_one_replica_finished_by_the_other(
    plane: ControlPlane, replica: ControlPlane, user: Principal
) -> None:
    from .test_store import put

    digest = sha256(LARGE)
    offered = await offer_upload(plane, user, digest, len(LARGE))
    assert offered.url is not None
    assert offered.upload_id is not None
    assert await put(offered.url, LARGE) == 200
    stranger = await authenticate(plane, await create_principal(plane, "user", "stranger"))
    assert await refusal(finish_upload(replica, stranger, digest, offered.upload_id)) == "not_found"
    assert await refusal(finish_upload(replica, user, sha256(b"x"), offered.upload_id)) == "not_found"
    assert await refusal(open_artifact(replica, user, digest)) == "not_found"
    info = await finish_upload(replica, user, digest, offered.upload_id)
    assert (info.digest, info.size) == (digest, len(LARGE))
    assert (await open_artifact(plane, user, digest)).size == len(LARGE)
    assert await refusal(open_artifact(plane, stranger, digest)) == "not_found"
    assert await refusal(finish_upload(replica, user, digest, offered.upload_id)) == "not_found"


async def test_other_bytes_than_were_announced_do_not_count(plane: ControlPlane, user: Principal) -> None:
    from .test_store import put

    digest = sha256(LARGE)
    offered = await offer_upload(plane, user, digest, len(LARGE))
    assert offered.url is not None
    assert offered.upload_id is not None
    await put(offered.url, altered(LARGE))
    finishing = finish_upload(plane, user, digest, offered.upload_id)
    assert await refusal(finishing) == "artifact_digest_mismatch"
    assert await refusal(open_artifact(plane, user, digest)) == "not_found"
    assert await plane.artifacts.size(digest) is None
    assert await plane.artifacts.sweep(-5) == 0


async def test_more_than_is_allowed_is_offered_no_place(plane: ControlPlane, user: Principal) -> None:
    size = plane.settings.max_artifact_bytes + 1
    assert await refusal(offer_upload(plane, user, sha256(b""), size)) == "body_too_large"


async def test_the_client_sends_large_files_past_the_control_plane(
    plane: ControlPlane, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    granian = Server(create_app(plane), "127.0.0.1", port, interface=Interfaces.ASGI, log_enabled=False)
    serving = asyncio.create_task(granian.serve())
    token = await create_principal(plane, "user", "ann")
    large, small = tmp_path / "large", tmp_path / "small"
    large.write_bytes(LARGE)
    small.write_bytes(b"small")
    async with ControlPlaneClient(url, token=token, retry=RetryPolicy(attempts=20)) as client:
        for file in (large, small):
            info = await client.publish(file)
            assert info.digest == sha256(file.read_bytes())
            await client.download(info.digest, tmp_path / "back")
            assert (tmp_path / "back").read_bytes() == file.read_bytes()
    sent = plane.meters.registry.get_sample_value
    labels = {"method": "PUT", "route": "/api/artifacts/sha256/{digest}", "status": "200"}
    assert sent("edgeproof_request_seconds_count", labels) == 1  # the small one
    plane.stopping.set()
    granian.stop()
    async with asyncio.timeout(10):
        await serving
