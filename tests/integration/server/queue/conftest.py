"""A yard to test the queue in: a control plane, a user with an uploaded model, two runners that answer."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobView
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.runners import ClaimedRun, ClaimRequest, FailRequest, SubmitResponse
from edgeproof.domain.runs import Lease
from edgeproof.server.analyze import analyze
from edgeproof.server.artifacts import put_artifact
from edgeproof.server.claim import claim
from edgeproof.server.control_plane import ControlPlane, Principal
from edgeproof.server.enrolment import allow_key
from edgeproof.server.finish import fail, submit
from edgeproof.server.jobs import get_job
from edgeproof.server.principals import authenticate
from edgeproof.testing.answers import Answer, answer
from edgeproof.testing.evidence import Scene

MODEL = b"a model"
DATASET = b"a data set"


async def chunks_of(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def refusal(awaitable: Awaitable[Any]) -> str:
    """The code with which ``awaitable`` is refused."""
    with pytest.raises(Refused) as refused:
        await awaitable
    return refused.value.code


@dataclass(frozen=True)
class Worker:
    """A runner's principal and its key; it answers what it claims with invented results."""

    plane: ControlPlane
    principal: Principal
    key: SigningKey

    async def claim(self, wait_seconds: float = 0.0) -> ClaimedRun | None:
        return await claim(self.plane, self.principal, ClaimRequest(wait_seconds=wait_seconds))

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

    async def fail(self, claimed: ClaimedRun, *, retryable: bool, code: str = "build_failed") -> str:
        request = FailRequest(code=code, message="it broke", fault="user", retryable=retryable)
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


async def upload(plane: ControlPlane, principal: Principal, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    return (await put_artifact(plane, principal, digest, chunks_of(data))).digest


@pytest.fixture
async def yard(control_plane: ControlPlane, admin: Principal, user: Principal, device: Any) -> Yard:
    workers = []
    for _ in range(2):
        one = replace(device, key=SigningKey.generate())
        await allow_key(control_plane, admin, one.key.public)
        token = (await one.register(control_plane)).token
        workers.append(Worker(control_plane, await authenticate(control_plane, token), one.key))
    model = await upload(control_plane, user, MODEL)
    dataset = await upload(control_plane, user, DATASET)
    return Yard(control_plane, user, workers[0], workers[1], model, dataset)
