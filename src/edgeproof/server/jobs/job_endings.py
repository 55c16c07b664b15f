"""How a job ends. The caller holds the job's row, locked, as ``LOCK_JOB`` reads it."""

from __future__ import annotations

from typing import Any, Final, Literal

from edgeproof.contract.jobs import JobError
from edgeproof.domain.jobs import move
from edgeproof.server.db.database import Connection
from edgeproof.server.db.rows import Row
from edgeproof.server.plane.events import append_event

LOCK_JOB: Final = """
SELECT job_id, status, cancel_requested_at, input_summary, policy_digest, needs_advance
FROM jobs WHERE job_id = $1 FOR UPDATE
"""
_END_JOB: Final = """
UPDATE jobs SET status = $2, result = $3, error = $4, reported_at = $5, updated_at = clock_timestamp(),
    needs_advance = false
WHERE job_id = $1
"""


async def end_job(
    connection: Connection,
    job: Row,
    status: Literal["completed", "failed", "cancelled"],
    *,
    result: dict[str, Any] | None = None,
    error: JobError | None = None,
    reported_at: str | None = None,
) -> None:
    """Move the job to its last status; its last event tells so. Raises ``Refused`` if it has ended.

    ``reported_at`` is what an external worker says of when it ended; it is shown and orders nothing.
    """
    move(job["status"], status)
    told: dict[str, Any] = {"status": status}
    if error is not None:
        error = error.attributed()
        told["error"] = {
            "code": error.code,
            "message": error.message,
            "stage": error.stage,
            "fault": error.fault,
            "retryable": error.retryable,
        }
    if result is not None:
        told["decision"] = result["deployment_decision"]["decision"]
    # Before the row says that it has ended, for an ended job gets no event.
    await append_event(connection, job["job_id"], "status", told)
    await connection.execute(_END_JOB, job["job_id"], status, result, error, reported_at)
