"""A runner's road over real HTTP: enrol, prove, claim, renew, fail; and what ends a long poll."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from edgeproof.client import ControlPlaneClient
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import Progress
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.runners import ClaimRequest, FailRequest, HeartbeatRequest, RegisterRequest
from edgeproof.domain.runs import Lease
from edgeproof.server.plane.control_plane import ControlPlane

from .conftest import CAPABILITIES


@pytest.fixture
async def runner(
    server: ControlPlane, url: str, admin: ControlPlaneClient
) -> AsyncIterator[ControlPlaneClient]:
    pin = server.keys.signing.public.fingerprint
    async with ControlPlaneClient(f"{url}#{pin}") as client:
        token = await admin.create_enrolment_token()
        registered = await client.register(SigningKey.generate(), CAPABILITIES, token)
        assert registered.server_key == server.keys.signing.public.base64
        yield client


async def queue_job(user: ControlPlaneClient) -> str:
    model = (await user.upload_bytes(b"a model")).digest
    return (await user.analyze(AnalyzeRequest(model_path=f"sha256:{model}"))).job_id


async def test_without_enrolment_a_proof_is_not_enough(server: ControlPlane, url: str) -> None:
    async with ControlPlaneClient(url) as client:
        with pytest.raises(Refused) as caught:
            await client.register(SigningKey.generate(), CAPABILITIES)
    assert caught.value.code == "key_not_allowed"


async def test_the_challenge_and_a_bad_proof(raw: httpx.AsyncClient) -> None:
    request = RegisterRequest(
        public_key=SigningKey.generate().public.base64, hostname="h", capabilities=CAPABILITIES
    )
    body = msgspec.json.encode(request)
    challenged = await raw.post("/api/runners/register", content=body)
    assert (challenged.status_code, challenged.json()["code"]) == (401, "challenge_required")
    nonce = challenged.json()["nonce"]
    for proof in (f"{nonce}.AAAA", "x", "x.y", f"{nonce}."):
        refused = await raw.post("/api/runners/register", content=body, headers={"Edgeproof-Proof": proof})
        assert (refused.status_code, refused.json()["code"]) == (401, "challenge_invalid")


async def test_who_sees_and_makes_what(
    runner: ControlPlaneClient, user: ControlPlaneClient, admin: ControlPlaneClient
) -> None:
    (listed,) = (await admin.runners()).runners
    assert listed.capabilities == CAPABILITIES
    assert (await user.runners()).runners == (listed,)
    for work in (
        runner.runners(),
        user.create_enrolment_token(),
        user.claim(ClaimRequest()),
        runner.analyze(AnalyzeRequest(model_path="x")),
    ):
        with pytest.raises(Refused) as caught:
            await work
        assert caught.value.code == "forbidden"


async def test_claim_heartbeat_and_fail(
    runner: ControlPlaneClient, user: ControlPlaneClient, raw: httpx.AsyncClient
) -> None:
    assert await runner.claim(ClaimRequest()) is None
    job_id = await queue_job(user)
    claimed = await runner.claim(ClaimRequest(wait_seconds=5))
    assert claimed is not None
    assert claimed.job_id == job_id
    lease = Lease(claimed.attempt, claimed.lease_token)
    beat = await runner.heartbeat(
        claimed.run_id, lease, HeartbeatRequest(progress=Progress(completed=1, total=2, unit="steps"))
    )
    assert not beat.cancel_requested
    stale = Lease(claimed.attempt + 1, claimed.lease_token)
    with pytest.raises(Refused) as caught:
        await runner.heartbeat(claimed.run_id, stale, HeartbeatRequest())
    assert caught.value.code == "stale_lease"
    source = (await user.upload_bytes(b"a model")).digest
    assert await runner.fetch(source, max_bytes=100, run_id=claimed.run_id, lease=lease) == b"a model"
    written = await runner.upload_bytes(b"an output", run_id=claimed.run_id, lease=lease)
    with pytest.raises(Refused) as caught:
        await runner.fetch(written.digest, max_bytes=100, run_id=claimed.run_id, lease=lease)
    assert caught.value.code == "not_found"
    with pytest.raises(Refused) as caught:
        await runner.submit(claimed.run_id, lease, b"{}")
    assert caught.value.code == "not_canonical"
    failure = FailRequest(code="build_failed", message="no", fault="user", retryable=False)
    assert (await runner.fail(claimed.run_id, lease, failure)).state == "FAILED"
    assert (await runner.fail(claimed.run_id, lease, failure)).state == "FAILED"
    job = await user.job(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.code == "build_failed"


async def test_a_long_poll_is_woken_by_a_job(runner: ControlPlaneClient, user: ControlPlaneClient) -> None:
    polling = asyncio.create_task(runner.claim(ClaimRequest(wait_seconds=30)))
    job_id = await queue_job(user)
    async with asyncio.timeout(10):
        claimed = await polling
    assert claimed is not None
    assert claimed.job_id == job_id


async def test_a_long_poll_ends_when_the_server_stops(
    server: ControlPlane, runner: ControlPlaneClient
) -> None:
    polling = asyncio.create_task(runner.claim(ClaimRequest(wait_seconds=30)))
    await under_way()
    server.stopping.set()
    async with asyncio.timeout(10):
        assert await polling is None


async def test_a_runner_that_hung_up_is_not_given_a_lease(
    runner: ControlPlaneClient, user: ControlPlaneClient
) -> None:
    polling = asyncio.create_task(runner.claim(ClaimRequest(wait_seconds=30)))
    await under_way()
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    await over()
    job_id = await queue_job(user)
    claimed = await runner.claim(ClaimRequest(wait_seconds=5))
    assert claimed is not None
    assert (claimed.job_id, claimed.attempt) == (job_id, 1)


async def under_way() -> None:
    """Returns once a claim waits for work."""
    async with asyncio.timeout(10):
        while not claims():
            await asyncio.sleep(0.01)


async def over() -> None:
    async with asyncio.timeout(10):
        while claims():
            await asyncio.sleep(0.01)


def claims() -> int:
    """Claims that run in this process: the server lives in the test's loop."""
    return sum(getattr(task.get_coro(), "__qualname__", "") == "claim_runs" for task in asyncio.all_tasks())
