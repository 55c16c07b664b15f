"""A lease token from an earlier attempt opens nothing any more, for a runner that is slow or lies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import httpx
import pytest

from edgeproof.client import ControlPlaneClient
from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.runners import (
    LEASE_HEADER,
    Capabilities,
    ClaimedRun,
    ClaimRequest,
    EngineCapability,
    FailRequest,
    HeartbeatRequest,
)
from edgeproof.domain.runs import Lease

from .system import System, ended, upload

ENGINE = EngineCapability(name="onnxruntime", version="1", targets=("cpu",), precisions=("fp32",))
CAPABILITIES = Capabilities(
    device_class="linux-x86_64",
    cpu_count=1,
    memory_bytes=1 << 30,
    isolation="namespaces",
    backends=(ENGINE,),
    toolchains=(ENGINE,),
)
LATE = b"late result" * 500_000
"""Large enough that the refusal meets a peer that is still sending."""
FAILURE = FailRequest(code="build_failed", message="it did not work", fault="user", retryable=False)


@contextlib.asynccontextmanager
async def enrolled(system: System) -> AsyncIterator[tuple[ControlPlaneClient, str]]:
    """A runner of the test's own, and its id."""
    key = SigningKey.generate()
    async with system.admin() as admin, ControlPlaneClient(system.address) as runner:
        await runner.register(key, CAPABILITIES, await admin.create_enrolment_token())
        yield runner, f"runner-{key.public.keyid[:16]}"


async def claimed(runner: ControlPlaneClient) -> ClaimedRun:
    async with asyncio.timeout(30):
        while True:
            if (run := await runner.claim(ClaimRequest(wait_seconds=10))) is not None:
                return run


def lease_of(run: ClaimedRun) -> Lease:
    return Lease(run.attempt, run.lease_token)


@dataclass
class Calls:
    """Everything a runner may do under a lease."""

    runner: ControlPlaneClient
    run: ClaimedRun
    source: str

    def each(self, lease: Lease) -> dict[str, Callable[[], Awaitable[object]]]:
        runner, run_id = self.runner, self.run.run_id
        return {
            "heartbeat": lambda: runner.heartbeat(run_id, lease, HeartbeatRequest()),
            "submit": lambda: runner.submit(run_id, lease, b"{}"),
            "fail": lambda: runner.fail(run_id, lease, FAILURE),
            "upload": lambda: runner.upload_bytes(LATE, run_id=run_id, lease=lease),
            "download": lambda: runner.fetch(self.source, max_bytes=100, run_id=run_id, lease=lease),
        }


async def demand_stale(calls: dict[str, Callable[[], Awaitable[object]]]) -> None:
    for name, call in calls.items():
        with pytest.raises(Refused) as caught:
            await call()
        assert caught.value.code == "stale_lease", name


async def heartbeat_with(system: System, runner: ControlPlaneClient, run: ClaimedRun, header: str) -> str:
    """The code that a lease header gets which no typed lease can spell."""
    async with httpx.AsyncClient(base_url=system.ready.url, trust_env=False) as client:
        response = await client.post(
            f"/api/queue/{run.run_id}/heartbeat",
            content=b"{}",
            headers={"Authorization": f"Bearer {runner.token}", LEASE_HEADER: header},
        )
    code: str = response.json()["code"]
    return code


async def test_a_lease_of_an_earlier_attempt(small_system: System) -> None:
    async with small_system.client() as user, enrolled(small_system) as (runner, runner_id):
        source = await upload(user, b"a model")
        request = AnalyzeRequest(model_path=source, options={"runner": runner_id})
        job = await user.analyze(request)
        first, other = await claimed(runner), await claimed(runner)
        calls = Calls(runner, first, source.removeprefix("sha256:"))
        assert await runner.fetch(calls.source, max_bytes=100, run_id=first.run_id, lease=lease_of(first))
        again = await claimed(runner)  # both leases run out meanwhile
        if again.run_id != first.run_id:
            first = other
            calls = Calls(runner, first, calls.source)
        assert (again.run_id, again.attempt) == (first.run_id, first.attempt + 1)
        guessed = Lease(again.attempt, "0" * 64)
        old_token = Lease(again.attempt, first.lease_token)
        for lease in (lease_of(first), old_token, guessed):
            await demand_stale(calls.each(lease))
        kept = small_system.data_dir / "artifacts" / "sha256"
        late = sha256_hex(LATE)
        assert not (kept / late[:2] / late).exists()
        # The one who holds the run was not disturbed, and what it says counts.
        assert (await runner.fail(again.run_id, lease_of(again), FAILURE)).state == "FAILED"
        with pytest.raises(Refused) as caught:
            await calls.each(lease_of(again))["submit"]()
        assert caught.value.code == "different_outcome"
        failed = await ended(user, job.job_id)
        assert failed.error is not None
        assert failed.error.code == "build_failed"


async def test_a_runner_reads_only_what_its_run_names(small_system: System) -> None:
    async with small_system.client() as user, enrolled(small_system) as (runner, runner_id):
        secret = await upload(user, b"another model")
        source = await upload(user, b"a model")
        job = await user.analyze(AnalyzeRequest(model_path=source, options={"runner": runner_id}))
        run = await claimed(runner)
        for digest in (secret.removeprefix("sha256:"), "0" * 64):
            with pytest.raises(Refused) as caught:
                await runner.fetch(digest, max_bytes=100, run_id=run.run_id, lease=lease_of(run))
            assert caught.value.code == "not_found"
        for malformed in ("", "1", "x.y", f"{run.attempt}.{'0' * 63}"):
            assert await heartbeat_with(small_system, runner, run, malformed) == "stale_lease"
        await runner.fail(run.run_id, lease_of(run), FAILURE)
        await ended(user, job.job_id)


async def test_envelopes_that_do_not_hold(small_system: System) -> None:
    """A runner that submits garbage is told what is wrong; the run stays its own until it fails."""
    async with small_system.client() as user, enrolled(small_system) as (runner, runner_id):
        source = await upload(user, b"a model")
        job = await user.analyze(AnalyzeRequest(model_path=source, options={"runner": runner_id}))
        run = await claimed(runner)
        foreign = SigningKey.generate()
        for envelope, code in (
            (b"{}", "not_canonical"),
            (b"[]", "not_canonical"),
            (b"\xff", "not_canonical"),
            (foreign.seal(b"{}"), "key_unknown"),
        ):
            with pytest.raises(Refused) as caught:
                await runner.submit(run.run_id, lease_of(run), envelope)
            assert caught.value.code == code, envelope[:20]
        assert (await runner.fail(run.run_id, lease_of(run), FAILURE)).state == "FAILED"
        assert (await ended(user, job.job_id)).status == "failed"
