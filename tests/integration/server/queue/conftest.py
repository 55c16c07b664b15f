"""A yard to test the queue in: a control plane, a user with an uploaded model, two runners that answer."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.faults import Fault
from edgeproof.contract.jobs import JobView
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.runners import (
    Capabilities,
    ClaimedRun,
    ClaimRequest,
    EngineCapability,
    FailRequest,
    SubmitResponse,
)
from edgeproof.domain.runs import Lease
from edgeproof.server.artifacts.artifacts import put_artifact
from edgeproof.server.fleet.requirements import match_runner_classes
from edgeproof.server.jobs.analyze import analyze
from edgeproof.server.jobs.jobs import get_job
from edgeproof.server.plane.control_plane import ControlPlane, Principal, Settings, open_control_plane
from edgeproof.server.plane.principals import authenticate, create_principal
from edgeproof.server.queue.claim import claim
from edgeproof.server.queue.fail import fail
from edgeproof.server.queue.submit import submit
from edgeproof.testing.answers import Answer, answer
from edgeproof.testing.evidence import Scene

MODEL = b"a model"
DATASET = b"a data set"
ENGINE = EngineCapability(name="onnxruntime", version="1", targets=("cpu",), precisions=("fp32",))
CAPABILITIES = Capabilities(
    device_class="linux-x86_64",
    cpu_count=2,
    memory_bytes=4 << 30,
    isolation="namespaces",
    backends=(ENGINE,),
    toolchains=(ENGINE,),
)


async def chunks_of(data: bytes) -> AsyncIterator[bytes]:
    yield data


@dataclass(frozen=True)
class Worker:
    """A runner's principal and its key; it answers what it claims with invented results."""

    plane: ControlPlane
    principal: Principal
    key: SigningKey

    async def claim(
        self,
        wait_seconds: float = 0.0,
        holding: tuple[str, ...] | None = None,
        number: int | None = None,
    ) -> ClaimedRun | None:
        request = ClaimRequest(wait_seconds=wait_seconds, holding=holding, number=number)
        return await claim(self.plane, self.principal, request)

    async def take(self) -> ClaimedRun:
        claimed = await self.claim()
        assert claimed is not None
        return claimed

    def answer(self, claimed: ClaimedRun, *, nonce: int = 0, scene: Scene | None = None) -> Answer:
        return answer(claimed.job_spec.encode(), self.key, scene, nonce=nonce)

    async def upload(self, claimed: ClaimedRun, made: Answer) -> None:
        for data in made.uploads:
            digest = hashlib.sha256(data).hexdigest()
            await put_artifact(
                self.plane,
                self.principal,
                digest,
                chunks_of(data),
                run_id=claimed.run_id,
                lease=lease_of(claimed),
            )

    async def submit(
        self, claimed: ClaimedRun, envelope: bytes, lease: Lease | None = None
    ) -> SubmitResponse:
        return await submit(self.plane, self.principal, claimed.run_id, lease or lease_of(claimed), envelope)

    async def work(self, claimed: ClaimedRun, scene: Scene | None = None) -> SubmitResponse:
        made = self.answer(claimed, scene=scene)
        await self.upload(claimed, made)
        return await self.submit(claimed, made.envelope)

    async def fail(
        self, claimed: ClaimedRun, *, retryable: bool, code: str = "build_failed", fault: Fault = "user"
    ) -> str:
        request = FailRequest(code=code, message="it broke", fault=fault, retryable=retryable)
        return (await fail(self.plane, self.principal, claimed.run_id, lease_of(claimed), request)).state

    async def work_off(self, scene: Scene | None = None) -> int:
        """Claim and answer until nothing is left; how many runs that were."""
        done = 0
        while (claimed := await self.claim()) is not None:
            await self.work(claimed, scene)
            done += 1
        return done


def lease_of(claimed: ClaimedRun) -> Lease:
    return Lease(claimed.attempt, claimed.lease_token)


@dataclass(frozen=True)
class Yard:
    plane: ControlPlane
    user: Principal
    one: Worker
    two: Worker
    model: str
    dataset: str

    def request(self, **options: Any) -> AnalyzeRequest:
        return AnalyzeRequest(
            model_path=f"sha256:{self.model}",
            options={"dataset": f"sha256:{self.dataset}", "threads": 1, **options},
        )

    async def analyze(self, **options: Any) -> JobView:
        return await analyze(self.plane, self.user, self.request(**options))

    async def job(self, job_id: str) -> JobView:
        return await get_job(self.plane, self.user, job_id)

    async def expire(self, run_id: str) -> None:
        """Let the run's lease have expired a second ago, by the database's clock."""
        await self.plane.database.pool.execute(
            "UPDATE run_queue SET lease_expires_at = clock_timestamp() - interval '1 second'"
            " WHERE run_id = $1 AND state = 'CLAIMED'",
            run_id,
        )


async def listening(yard: Yard) -> None:
    """Until the claim waits: its last query was answered and the connection listens."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
    )
    async with asyncio.timeout(10):
        while await yard.plane.database.pool.fetchval(query) == 0:
            await asyncio.sleep(0.01)


async def waiting(yard: Yard, count: int) -> None:
    """Until ``count`` claims wait."""
    async with asyncio.timeout(10):
        while yard.plane.meters.registry.get_sample_value("edgeproof_claims_waiting") != count:
            await asyncio.sleep(0.01)


async def upload(plane: ControlPlane, principal: Principal, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    return (await put_artifact(plane, principal, digest, chunks_of(data))).digest


async def enlist(plane: ControlPlane) -> Worker:
    """A runner as registration would have left it; registration has tests of its own."""
    key = SigningKey.generate()
    runner_id = f"runner-{key.public.keyid[:16]}"
    async with plane.database.transaction() as connection:
        await connection.execute(
            "INSERT INTO runner_keys (public_key, added_by, runner_id) VALUES ($1, 'test', $2)",
            key.public.base64,
            runner_id,
        )
        await connection.execute(
            "INSERT INTO runners (runner_id, public_key, hostname, capabilities) VALUES ($1, $2, 'h', $3)",
            runner_id,
            key.public.base64,
            CAPABILITIES,
        )
        await match_runner_classes(connection, runner_id, CAPABILITIES)
    return Worker(plane, Principal(runner_id, "runner", runner_id, key.public.base64), key)


async def furnish(plane: ControlPlane) -> Yard:
    user = await authenticate(plane, await create_principal(plane, "user", "engineer"))
    model = await upload(plane, user, MODEL)
    dataset = await upload(plane, user, DATASET)
    return Yard(plane, user, await enlist(plane), await enlist(plane), model, dataset)


@pytest.fixture
async def yard(control_plane: ControlPlane) -> Yard:
    return await furnish(control_plane)


@pytest.fixture
def open_yard(
    postgres_dsn: str, migrated_template: str, tmp_path: Path, settings: Settings
) -> Callable[[], AbstractAsyncContextManager[Yard]]:
    """Yards on databases of their own, as many as a test asks for, on the test's own event loops."""

    @asynccontextmanager
    async def open_one() -> AsyncIterator[Yard]:
        name = f"yard_{secrets.token_hex(6)}"
        connection = await asyncpg.connect(postgres_dsn)
        try:
            await connection.execute(
                f"CREATE DATABASE {name} TEMPLATE {migrated_template} STRATEGY FILE_COPY"
            )
            dsn = urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}"))
            plane = await open_control_plane(dsn, tmp_path / name, settings)
            try:
                yield await furnish(plane)
            finally:
                await plane.close()
        finally:
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            await connection.close()

    return open_one
