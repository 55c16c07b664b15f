"""How a run leaves its lease or the queue. The caller holds the run's queue row, locked.

Shared by fail, reap, claim and cancel; a result is ``finish``'s.
"""

from __future__ import annotations

from typing import Any, Final

from edgeproof.contract.jobs import JobError, RunState
from edgeproof.domain.runs import after_lease_ended
from edgeproof.server import queue_sql
from edgeproof.server.database import Connection
from edgeproof.server.events import append_event
from edgeproof.server.rows import Row

NEEDS_ADVANCE: Final = (
    "UPDATE jobs SET needs_advance = true WHERE job_id = $1 AND status IN ('queued', 'running')"
)
_CANCELLING: Final = """
SELECT cancel_requested_at IS NOT NULL OR status NOT IN ('queued', 'running') FROM jobs WHERE job_id = $1
FOR UPDATE
"""


async def lease_ended(
    connection: Connection,
    run: Row,
    error: JobError,
    *,
    retryable: bool,
    submission: str | None,
) -> RunState:
    """A claimed run lost its lease without a result: back to the queue, or out of it.

    ``run`` has the columns of ``queue_sql.LOCK_LEASED`` and ``run_id``. ``submission`` is the digest of
    the request that said so, None for the reaper.
    """
    cancelling: bool = await connection.fetchval(_CANCELLING, run["job_id"])
    state = after_lease_ended(
        run["attempt"], run["max_attempts"], retryable=retryable, cancel_requested=cancelling
    )
    if state == "PENDING":
        await connection.execute(queue_sql.REQUEUE, run["run_id"])
        await connection.execute(queue_sql.WAKE_RUNNERS, run["class_id"])
        await tell_run(connection, run, state, error)
        return state
    await leave_queue(
        connection, run, state, failure=error if state == "FAILED" else None, submission=submission
    )
    return state


async def leave_queue(
    connection: Connection,
    run: Row,
    state: RunState,
    *,
    failure: JobError | None = None,
    evidence: str | None = None,
    submission: str | None = None,
) -> None:
    """Store the run's outcome, take it out of the queue and ask for its job's next step."""
    run_id = run["run_id"]
    failure = None if failure is None else failure.attributed()
    await connection.execute(queue_sql.STORE_OUTCOME, run_id, state, evidence, submission, failure)
    await connection.execute(queue_sql.LEAVE_QUEUE, run_id)
    await tell_run(connection, run, state, failure)
    await connection.execute(NEEDS_ADVANCE, run["job_id"])


async def tell_run(connection: Connection, run: Row, state: RunState, error: JobError | None = None) -> None:
    """An event of type ``metadata``: one run changed its state."""
    data: dict[str, Any] = {
        "run_id": run["run_id"],
        "stage": run["stage"],
        "role": run["role"],
        "state": state,
        "attempt": run["attempt"],
        "runner_id": run["runner_id"],
    }
    if error is not None:
        told = error.attributed()
        data["error"] = {
            "code": told.code,
            "message": told.message,
            "fault": told.fault,
            "retryable": told.retryable,
        }
    await append_event(connection, run["job_id"], "metadata", data)
