"""How a run leaves its lease or the queue. The caller holds the run's queue row, locked.

Shared by fail, reap, claim and cancel; a result is stored by ``queue/delivery_sql.STORE_RESULTS``.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from edgeproof.contract.jobs import JobError, RunState
from edgeproof.domain.runs import after_lease_ended, attempts_more
from edgeproof.server.db.database import Connection
from edgeproof.server.db.notifier import notify
from edgeproof.server.db.rows import Row
from edgeproof.server.db.turns import RUNS_CHANNEL, turn_key
from edgeproof.server.fleet.standing import count_strike, hold_strikes
from edgeproof.server.plane.audit_log import CONTROL_PLANE, record
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.server.plane.events import append_event
from edgeproof.server.runs import queue_sql

AboutRunner = Literal["strike", "sound", "nothing"]
"""What the end of a lease says about its runner: it counts against it; it did its part, so that a row of
strikes ends if the run failed; or neither."""

NEEDS_ADVANCE: Final = (
    "UPDATE jobs SET needs_advance = true WHERE job_id = $1 AND status IN ('queued', 'running')"
)
_CANCELLING: Final = """
SELECT cancel_requested_at IS NOT NULL OR status NOT IN ('queued', 'running') FROM jobs WHERE job_id = $1
FOR UPDATE
"""


async def lease_ended(
    plane: ControlPlane,
    connection: Connection,
    run: Row,
    error: JobError,
    *,
    retryable: bool,
    submission: str | None,
    about_runner: AboutRunner,
    nobodys_doing: bool = False,
) -> RunState:
    """A claimed run lost its lease without a result: back to the queue, or out of it. ``nobodys_doing``: the
    attempt does not count, within ``attempts_more``.

    ``run`` has the columns of ``queue_sql.LOCK_LEASED`` and ``run_id``. ``submission`` is the digest of
    the request that said so, None for the reaper.
    """
    # Before the job's row: an ending takes its locks in one order, run, runner, job.
    if about_runner == "strike":
        await count_strike(plane, connection, run["runner_id"], error)
    else:
        await hold_strikes(connection, run["runner_id"])
    cancelling: bool = await connection.fetchval(_CANCELLING, run["job_id"])
    more = attempts_more(run["max_attempts"], plane.settings.max_attempts) if nobodys_doing else 0
    state = after_lease_ended(
        run["attempt"], run["max_attempts"] + more, retryable=retryable, cancel_requested=cancelling
    )
    actor = CONTROL_PLANE if submission is None else run["runner_id"]
    told = {"attempt": run["attempt"], "code": error.code, "runner": run["runner_id"], "state": state}
    await record(connection, actor, "lease.ended", run["run_id"], told)
    if state == "PENDING":
        await connection.execute(queue_sql.REQUEUE, run["run_id"], more)
        await wake_a_runner(connection, run["class_id"], run["assigned_runner_id"])
        await wake_its_runner(connection, run)
        await tell_run(connection, run, state, error)
        return state
    failed = state == "FAILED"
    await leave_queue(
        connection,
        run,
        state,
        failure=error if failed else None,
        submission=submission,
        exhausted=failed and retryable,
        forgive=about_runner == "sound",
    )
    return state


async def lease_lost(
    plane: ControlPlane,
    connection: Connection,
    run: Row,
    why: str,
    *,
    about_runner: AboutRunner,
    nobodys_doing: bool = False,
) -> None:
    """A runner has lost its lease by its own silence; ``why`` goes on from "the runner <id>"."""
    error = JobError(
        code="lease_expired",
        message=f"the runner {run['runner_id']} {why}, attempt {run['attempt']} of {run['max_attempts']}",
        stage=run["stage"],
    )
    await lease_ended(
        plane,
        connection,
        run,
        error,
        retryable=True,
        submission=None,
        about_runner=about_runner,
        nobodys_doing=nobodys_doing,
    )


async def leave_queue(
    connection: Connection,
    run: Row,
    state: RunState,
    *,
    failure: JobError | None = None,
    evidence: str | None = None,
    submission: str | None = None,
    exhausted: bool = False,
    forgive: bool = False,
) -> None:
    """Store the run's outcome, take it out of the queue and ask for its job's next step.

    ``exhausted``: it failed for want of attempts. ``forgive``: its runner's row of strikes ends here if it
    failed; the caller has locked the runner's row before the job's.
    """
    run_id = run["run_id"]
    failure = None if failure is None else failure.attributed()
    forgiven = forgive and state == "FAILED"
    await connection.execute(
        queue_sql.STORE_OUTCOME, run_id, state, evidence, submission, failure, exhausted, forgiven
    )
    await wake_its_runner(connection, run)
    await tell_run(connection, run, state, failure)
    await connection.execute(NEEDS_ADVANCE, run["job_id"])


async def wake_a_runner(connection: Connection, class_id: int, assigned_runner_id: str | None) -> None:
    """One of those that wait for such a run looks, once this has committed."""
    await notify(connection, RUNS_CHANNEL, turn_key(class_id, assigned_runner_id))


async def wake_its_runner(connection: Connection, run: Row) -> None:
    """Who held a measurement until now may have another: it was not called for them meanwhile."""
    if run["stage"] == "runtime" and run["runner_id"] is not None:
        await notify(connection, RUNS_CHANNEL, turn_key(0, run["runner_id"]))


async def tell_run(connection: Connection, run: Row, state: RunState, error: JobError | None = None) -> None:
    """An event of type ``metadata``: one run changed its state."""
    await append_event(connection, run["job_id"], "metadata", run_told(run, state, error))


def run_told(run: Row, state: RunState, error: JobError | None = None) -> dict[str, Any]:
    """What such an event says."""
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
    return data
