"""Takes a job one step further: asks its worker adapter what is due and does it, in one
transaction.

Repeating it is harmless. ``needs_advance`` is set in the same transaction as whatever made a step due, and
taken away with the step; so a crash in between loses nothing, and ``sweep`` finds the job again.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from typing import Final, assert_never

from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobError
from edgeproof.domain.jobs import TERMINAL
from edgeproof.domain.runs import DEFAULT_PRIORITY
from edgeproof.lab import plan
from edgeproof.lab.worker_request import options_of
from edgeproof.server import queue_sql
from edgeproof.server.adapters import adapter_of
from edgeproof.server.control_plane import ControlPlane
from edgeproof.server.database import Connection
from edgeproof.server.decide import decide
from edgeproof.server.job_endings import LOCK_JOB, end_job
from edgeproof.server.requirements import classes_of
from edgeproof.server.rows import Row
from edgeproof.server.run_endings import leave_queue, wake_a_runner

_logger = logging.getLogger(__name__)
_SWEEP: Final = 100

_ADVANCED: Final = "UPDATE jobs SET needs_advance = false WHERE job_id = $1 AND needs_advance"
_WAITING_JOBS: Final = "SELECT seq, job_id FROM jobs WHERE needs_advance AND seq > $1 ORDER BY seq LIMIT $2"
_RUN: Final = """
SELECT run_id, attempt, class_id, runner_id, job_id, stage, role
FROM run_queue JOIN runs USING (run_id, class_id) WHERE run_id = $1
"""


async def advance(plane: ControlPlane, job_id: str) -> None:
    """Do what is due for a job. Raises ``Unavailable`` when that failed for our reasons: try again."""
    async with plane.database.transaction() as connection:
        job = await connection.fetchrow(LOCK_JOB, job_id)
        if job is None or job["status"] in TERMINAL:
            await connection.execute(_ADVANCED, job_id)
            return
        deciding = await step(plane, connection, job)
    if deciding:
        await decide(plane, job_id)


async def step(plane: ControlPlane, connection: Connection, job: Row) -> bool:
    """The next step of a locked job; True when it is the decision, which needs no lock to be made.

    ``job`` has the columns of ``job_endings.LOCK_JOB``.
    """
    try:
        adapter = adapter_of(options_of(job["input_summary"]["options"]))
        actions = await adapter.due(plane, connection, job)
    except Refused as error:
        # It was accepted once: another release wrote it.
        actions = [plan.FailJob(JobError(code=error.code, message=error.detail, stage="lab_validation"))]
    if any(isinstance(action, plan.Decide) for action in actions):
        return True
    await _apply(plane, connection, job, actions)
    await connection.execute(_ADVANCED, job["job_id"])
    return False


async def sweep(plane: ControlPlane) -> int:
    """Advance every job that waits for it; how many there were. One job's trouble, of whatever kind, does not
    stop the rest."""
    swept, after = 0, 0
    while rows := await plane.database.pool.fetch(_WAITING_JOBS, after, _SWEEP):
        for row in rows:
            swept, after = swept + 1, row["seq"]
            try:
                await advance(plane, row["job_id"])
            except Exception:
                _logger.exception("job %s could not advance; it will be tried again", row["job_id"])
    return swept


async def _apply(
    plane: ControlPlane, connection: Connection, job: Row, actions: Sequence[plan.Action]
) -> None:
    job_id = job["job_id"]
    new = [action for action in actions if isinstance(action, plan.Enqueue)]
    if new:
        await enqueue(plane, connection, job_id, new)
    for action in actions:
        match action:
            case plan.Enqueue():
                pass
            case plan.CancelRun():
                await _cancel_run(connection, action.run_id)
            case plan.FailJob():
                await end_job(connection, job, "failed", error=action.error)
            case plan.CancelJob():
                await end_job(connection, job, "cancelled")
            case plan.Decide():
                raise ValueError("a decision is made outside the job's lock")
            case _:
                assert_never(action)


async def enqueue(
    plane: ControlPlane, connection: Connection, job_id: str, runs: Sequence[plan.Enqueue]
) -> None:
    """Add runs that wait from now on; the runners that can do them are woken by the commit."""
    class_ids = await classes_of(connection, [run.needs for run in runs])
    await connection.executemany(
        queue_sql.ADD_RUN,
        [
            (
                f"run_{secrets.token_hex(10)}",
                job_id,
                run.stage,
                run.role,
                class_id,
                run.config,
                run.limits,
                run.runner,
                DEFAULT_PRIORITY,
                plane.settings.max_attempts,
            )
            for run, class_id in zip(runs, class_ids, strict=True)
        ],
    )
    for run, class_id in zip(runs, class_ids, strict=True):
        await wake_a_runner(connection, class_id, run.runner)


async def _cancel_run(connection: Connection, run_id: str) -> None:
    """A run that a claim holds at this moment is left to it: the claim sees that the job wants no more."""
    if await connection.fetchval(queue_sql.LOCK_PENDING, run_id) is not None:
        (run,) = await connection.fetch(_RUN, run_id)
        await leave_queue(connection, run, "CANCELLED")
