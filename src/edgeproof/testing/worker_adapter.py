"""What every worker adapter must hold, as one suite (``server.worker_adapter`` is the port).

Subclass ``WorkerAdapterConformance`` in a test module and give it a pytest fixture ``boundary``: a job's two
sides, that of its user and the far one, whichever way work is handed over.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from typing import Final, Protocol

from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobView
from edgeproof.contract.worker import WorkerRequest

BUNDLE: Final = frozenset(
    {"summary", "comparison", "deployment_decision", "provenance", "metadata", "timestamps", "execution_info",
     "runtime_result", "forge_metadata"}
)  # fmt: skip
SUMMARY: Final = frozenset(
    {"response_type", "overall", "comparison_mode", "precision_pair", "deployment_decision", "guard_status",
     "guard_verdict"}
)  # fmt: skip


class Boundary(Protocol):
    """A job's user, and whoever works for it."""

    async def create(self) -> JobView:
        """Queues an analyze job that names this adapter."""
        ...

    async def job(self, job_id: str) -> JobView: ...

    async def statuses(self, job_id: str) -> list[str]:
        """What the job's events of type ``status`` have told so far."""
        ...

    async def worker_request(self, job_id: str) -> WorkerRequest: ...

    async def cancel(self, job_id: str) -> JobView: ...

    async def complete(self, job_id: str) -> None:
        """The far side does all the work and answers with results."""
        ...

    async def fail(self, job_id: str) -> str:
        """The far side answers that it could not; returns the stage it names."""
        ...

    async def answer_again(self, job_id: str) -> None:
        """The far side, once done, answers once more and otherwise. Raises ``Refused``."""
        ...

    async def answer_as_a_stranger(self, job_id: str) -> None:
        """Somebody who was not handed this job answers. Raises ``Refused``."""
        ...


class WorkerAdapterConformance:
    """Pytest collects it in the subclasses only."""

    async def test_a_job_that_was_handed_over_waits_in_queued(self, boundary: Boundary) -> None:
        job = await boundary.create()
        assert (job.status, job.result, job.error) == ("queued", None, None)
        assert await boundary.statuses(job.job_id) == ["queued"]
        assert "cancel" in job.links

    async def test_reading_the_worker_request_changes_nothing(self, boundary: Boundary) -> None:
        job = await boundary.create()
        request = await boundary.worker_request(job.job_id)
        assert request == await boundary.worker_request(job.job_id)
        assert (request.job_id, request.input_summary) == (job.job_id, job.input_summary)
        assert request.requested_at == job.updated_at
        assert await boundary.job(job.job_id) == job
        assert await boundary.statuses(job.job_id) == ["queued"]

    async def test_completed_work_completes_the_job_with_the_whole_bundle(self, boundary: Boundary) -> None:
        job = await boundary.create()
        await boundary.complete(job.job_id)
        done = await boundary.job(job.job_id)
        assert (done.status, done.error) == ("completed", None), done.error
        assert done.result is not None
        assert set(done.result) >= BUNDLE
        assert set(done.result["summary"]) >= SUMMARY
        assert set(done.result["comparison"]) >= {"result", "judgement", "rendered"}
        assert done.result["deployment_decision"]["decision"]
        assert done.result["deployment_decision"]["basis"] in ("signed", "unsigned")
        assert done.next_actions == ("review_deployment_decision",)
        assert await boundary.statuses(job.job_id) == ["queued", "running", "completed"]

    async def test_work_that_failed_fails_the_job_with_its_stage(self, boundary: Boundary) -> None:
        job = await boundary.create()
        stage = await boundary.fail(job.job_id)
        failed = await boundary.job(job.job_id)
        assert (failed.status, failed.result) == ("failed", None)
        assert failed.error is not None
        assert failed.error.stage == stage
        assert failed.error.code
        assert failed.error.message
        assert failed.next_actions == ("inspect_error", "create_new_job")
        assert await boundary.statuses(job.job_id) == ["queued", "running", "failed"]

    async def test_no_worker_request_once_the_job_has_left_queued(self, boundary: Boundary) -> None:
        job = await boundary.create()
        await boundary.fail(job.job_id)
        assert await _refusal(boundary.worker_request(job.job_id)) == 409

    async def test_a_second_answer_is_refused_and_changes_nothing(self, boundary: Boundary) -> None:
        job = await boundary.create()
        await boundary.complete(job.job_id)
        done, told = await boundary.job(job.job_id), await boundary.statuses(job.job_id)
        assert await _refusal(boundary.answer_again(job.job_id)) == 409
        assert await boundary.job(job.job_id) == done
        assert await boundary.statuses(job.job_id) == told

    async def test_a_strangers_answer_is_refused_and_changes_nothing(self, boundary: Boundary) -> None:
        job = await boundary.create()
        assert await _refusal(boundary.answer_as_a_stranger(job.job_id)) in (401, 403, 404, 409)
        assert await boundary.job(job.job_id) == job
        assert await boundary.statuses(job.job_id) == ["queued"]

    async def test_a_cancelled_job_stays_cancelled(self, boundary: Boundary) -> None:
        job = await boundary.create()
        cancelled = await boundary.cancel(job.job_id)
        assert cancelled.status == "cancelled"
        with suppress(Refused):
            await boundary.complete(job.job_id)
        assert await boundary.job(job.job_id) == cancelled
        assert await _refusal(boundary.worker_request(job.job_id)) == 409


async def _refusal(call: Awaitable[object]) -> int:
    try:
        await call
    except Refused as refused:
        return refused.status
    raise AssertionError("it was not refused")
