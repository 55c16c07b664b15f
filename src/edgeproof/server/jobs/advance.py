"""Takes jobs one step further: asks their worker adapter what is due and does it, in one transaction.

Repeating it is harmless. ``needs_advance`` is set in the same transaction as whatever made a step due, and
taken away with the step; so a crash in between loses nothing, and ``sweep`` finds the job again.
"""

from __future__ import annotations

import logging
import secrets
from collections import defaultdict
from collections.abc import Sequence
from typing import Final, assert_never

from edgeproof.contract.errors import Refused
from edgeproof.contract.log_ids import about
from edgeproof.domain.jobs import TERMINAL
from edgeproof.domain.runs import DEFAULT_PRIORITY
from edgeproof.lab import plan
from edgeproof.lab.worker_request import options_of
from edgeproof.server.db.database import Connection
from edgeproof.server.db.rows import Row
from edgeproof.server.fleet.requirements import classes_of
from edgeproof.server.jobs.adapters import adapter_of
from edgeproof.server.jobs.decide import decide
from edgeproof.server.jobs.job_endings import LOCK_JOB, end_job
from edgeproof.server.jobs.worker_adapter import WorkerAdapter, given_up
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.server.runs import queue_sql
from edgeproof.server.runs.run_endings import leave_queue, wake_a_runner

_logger = logging.getLogger(__name__)
_SWEEP: Final = 100

# The jobs are locked, but for one that has ended.
_ADVANCED: Final = "UPDATE jobs SET needs_advance = false WHERE job_id = ANY($1::text[]) AND needs_advance"
_LEFT: Final = "UPDATE jobs SET needs_advance = true WHERE job_id = ANY($1::text[]) AND NOT needs_advance"
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
            await connection.execute(_ADVANCED, [job_id])
            return
        deciding = await step_all(plane, connection, [job])
    if deciding:
        await decide(plane, job_id)


async def advance_soon(plane: ControlPlane, job_id: str) -> None:
    """Now if possible. What made it due is stored already: what fails here, the sweep repeats."""
    with about(job_id=job_id):
        try:
            await advance(plane, job_id)
        except Exception:
            _logger.exception("the job could not advance; the sweep will try again")


async def step_all(
    plane: ControlPlane, connection: Connection, jobs: Sequence[Row], *, stepping: bool = True
) -> list[str]:
    """The next step of each of these locked jobs; the ids of those that are left with ``needs_advance``: what
    is due is the decision, which needs no lock to be made, or not ``stepping``.

    ``jobs`` have the columns of ``job_endings.LOCK_JOB``.
    """
    active = [job for job in jobs if job["status"] not in TERMINAL]
    due = await _due(plane, connection, active) if stepping else {}
    left = [
        job["job_id"]
        for job in active
        if any(isinstance(action, plan.Decide) for action in due.get(job["job_id"], [plan.Decide()]))
    ]
    for job in active:
        if job["job_id"] not in left:
            await _apply(connection, job, due[job["job_id"]])
    new = [
        (job_id, action)
        for job_id, actions in due.items()
        for action in actions
        if isinstance(action, plan.Enqueue)
    ]
    if new:
        await enqueue(plane, connection, new)
    if left:
        await connection.execute(_LEFT, left)
    if done := [job["job_id"] for job in active if job["needs_advance"] and job["job_id"] not in left]:
        await connection.execute(_ADVANCED, done)
    return left


async def _due(
    plane: ControlPlane, connection: Connection, jobs: Sequence[Row]
) -> dict[str, Sequence[plan.Action]]:
    found: dict[str, Sequence[plan.Action]] = {}
    by_adapter: defaultdict[WorkerAdapter, list[Row]] = defaultdict(list)
    for job in jobs:
        try:
            by_adapter[adapter_of(options_of(job["input_summary"]["options"]))].append(job)
        except Refused as error:
            found[job["job_id"]] = [given_up(error)]
    for adapter, its in by_adapter.items():
        due = await adapter.due(plane, connection, its)
        found |= {job["job_id"]: actions for job, actions in zip(its, due, strict=True)}
    return found


async def sweep(plane: ControlPlane) -> int:
    """Advance every job that waits for it; how many there were. One job's trouble, of whatever kind, does not
    stop the rest."""
    swept, after = 0, 0
    while rows := await plane.database.pool.fetch(_WAITING_JOBS, after, _SWEEP):
        for row in rows:
            swept, after = swept + 1, row["seq"]
            with about(job_id=row["job_id"]):
                try:
                    await advance(plane, row["job_id"])
                except Exception:
                    _logger.exception("the job could not advance; it will be tried again")
    return swept


async def _apply(connection: Connection, job: Row, actions: Sequence[plan.Action]) -> None:
    """All but new runs, which are added for many jobs at once."""
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
    plane: ControlPlane, connection: Connection, runs: Sequence[tuple[str, plan.Enqueue]]
) -> None:
    """Add runs, each with its job's id, that wait from now on; the runners that can do them are woken by the
    commit."""
    class_ids = await classes_of(connection, [run.needs for _, run in runs])
    await connection.execute(
        queue_sql.ADD_RUNS,
        [f"run_{secrets.token_hex(10)}" for _ in runs],
        [job_id for job_id, _ in runs],
        [run.stage for _, run in runs],
        [run.role for _, run in runs],
        class_ids,
        [run.config for _, run in runs],
        [run.limits for _, run in runs],
        [run.runner for _, run in runs],
        DEFAULT_PRIORITY,
        plane.settings.max_attempts,
    )
    for (_, run), class_id in zip(runs, class_ids, strict=True):
        await wake_a_runner(connection, class_id, run.runner)


async def _cancel_run(connection: Connection, run_id: str) -> None:
    """A run that a claim holds at this moment is left to it: the claim sees that the job wants no more."""
    if await connection.fetchval(queue_sql.LOCK_PENDING, run_id) is not None:
        (run,) = await connection.fetch(_RUN, run_id)
        await leave_queue(connection, run, "CANCELLED")
