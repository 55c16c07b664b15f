"""Fleet and external pass the one suite of the worker adapter port, on a real PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobView
from edgeproof.contract.runners import ClaimedRun
from edgeproof.contract.worker import WorkerRequest
from edgeproof.domain.runs import new_lease
from edgeproof.server.jobs.cancel import cancel
from edgeproof.server.jobs.worker_boundary import read_worker_request, respond
from edgeproof.server.plane.control_plane import Principal
from edgeproof.server.plane.principals import authenticate, create_principal
from edgeproof.server.queue.submit import submit
from edgeproof.testing.evidence import Scene
from edgeproof.testing.external_worker import completed_answer, failed_answer
from edgeproof.testing.worker_adapter import WorkerAdapterConformance

_STATUSES = """
SELECT data ->> 'status' FROM job_events
WHERE job_id = $1 AND type = 'status' AND data ->> 'cancel_requested' IS NULL ORDER BY seq
"""


@dataclass
class UserSide:
    """What the user of a job sees, the same for every adapter."""

    yard: Any

    async def job(self, job_id: str) -> JobView:
        view: JobView = await self.yard.job(job_id)
        return view

    async def statuses(self, job_id: str) -> list[str]:
        rows = await self.yard.plane.database.pool.fetch(_STATUSES, job_id)
        return [row[0] for row in rows]

    async def worker_request(self, job_id: str) -> WorkerRequest:
        return await read_worker_request(self.yard.plane, self.yard.user, job_id)

    async def cancel(self, job_id: str) -> JobView:
        return await cancel(self.yard.plane, self.yard.user, job_id)


@dataclass
class Fleet(UserSide):
    """The far side is a runner that claims, signs and submits."""

    held: list[ClaimedRun] = field(default_factory=list)

    async def create(self) -> JobView:
        view: JobView = await self.yard.analyze(precision="fp32")
        return view

    async def complete(self, job_id: str) -> None:
        while (claimed := await self.yard.one.claim()) is not None:
            self.held.append(claimed)
            await self.yard.one.work(claimed, Scene(images=1000))
        if not self.held:
            raise Refused("not_found", "there was no work")

    async def fail(self, job_id: str) -> str:
        claimed = await self.yard.one.take()
        await self.yard.one.fail(claimed, retryable=False)
        stage: str = claimed.stage
        return stage

    async def answer_again(self, job_id: str) -> None:
        last = self.held[-1]
        other = self.yard.one.answer(last, nonce=1, scene=Scene(images=1000))
        await self.yard.one.submit(last, other.envelope)

    async def answer_as_a_stranger(self, job_id: str) -> None:
        (run, *_) = (await self.yard.job(job_id)).runs
        await submit(self.yard.plane, self.yard.two.principal, run.run_id, new_lease(1), b"{}")


@dataclass
class External(UserSide):
    """The far side is a Forge or Runtime that is not ours, with a token of its own."""

    worker: Principal
    stranger: Principal

    async def create(self) -> JobView:
        view: JobView = await self.yard.analyze(
            adapter="external", backend="tensorrt", target="jetson", worker=self.worker.principal_id
        )
        return view

    async def _request(self, job_id: str) -> WorkerRequest:
        return await read_worker_request(self.yard.plane, self.worker, job_id)

    async def _answer(self, job_id: str, body: bytes) -> None:
        await respond(self.yard.plane, self.worker, job_id, body)

    async def complete(self, job_id: str) -> None:
        await self._answer(job_id, completed_answer(await self._request(job_id)))

    async def fail(self, job_id: str) -> str:
        await self._answer(job_id, failed_answer(await self._request(job_id), "forge"))
        return "forge"

    async def answer_again(self, job_id: str) -> None:
        told = WorkerRequest(job_id=job_id, input_summary={}, requested_at="", options={})
        await self._answer(job_id, failed_answer(told))

    async def answer_as_a_stranger(self, job_id: str) -> None:
        body = completed_answer(await self._request(job_id))
        await respond(self.yard.plane, self.stranger, job_id, body)


class TestFleet(WorkerAdapterConformance):
    @pytest.fixture
    def boundary(self, yard: Any) -> Fleet:
        return Fleet(yard)


class TestExternal(WorkerAdapterConformance):
    @pytest.fixture
    async def boundary(self, yard: Any) -> External:
        worker, stranger = [
            await authenticate(yard.plane, await create_principal(yard.plane, "external", name))
            for name in ("jetson lab", "somebody")
        ]
        return External(yard, worker, stranger)
