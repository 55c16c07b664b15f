"""Runs that failed for want of attempts, and doing their job's work again.

A terminal job never changes: doing it again is a new job, which names the old one (``retry_of``).
"""

from __future__ import annotations

import secrets
from typing import Final

import asyncpg
import msgspec

from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobError, JobView
from edgeproof.contract.queue import DeadLetter, DeadLetterPage
from edgeproof.lab.worker_request import options_of
from edgeproof.server.db.database import Connection
from edgeproof.server.db.rows import Row
from edgeproof.server.db.times import utc_text
from edgeproof.server.jobs.adapters import adapter_of
from edgeproof.server.jobs.advance import enqueue
from edgeproof.server.jobs.job_facts import policy_of
from edgeproof.server.jobs.jobs import get_job
from edgeproof.server.plane.audit_log import record
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import require

_PAGE: Final = """
SELECT o.run_id, r.job_id, r.stage, r.role, o.attempt, o.runner_id, o.failure, o.finished_at,
    again.job_id AS retried_by
FROM run_outcomes o JOIN runs r USING (run_id) LEFT JOIN jobs again ON again.retry_of = r.job_id
WHERE o.exhausted AND ($1::text IS NULL OR (o.finished_at, o.run_id) < ($2::timestamptz, $1))
ORDER BY o.finished_at DESC, o.run_id DESC LIMIT $3
"""
_PLACE: Final = "SELECT finished_at FROM run_outcomes WHERE exhausted AND run_id = $1"
_OLD: Final = """
SELECT job_id, status, input_summary, policy_digest FROM jobs
WHERE job_id = $1 AND (owner_id = $2 OR $3) FOR UPDATE
"""
_COUNT: Final = "SELECT count(*) FROM run_outcomes WHERE exhausted"
_AGAIN: Final = "SELECT job_id FROM jobs WHERE retry_of = $1"
_ADD: Final = """
WITH job AS (
    INSERT INTO jobs (job_id, owner_id, workflow, status, input_summary, policy_digest, retry_of)
    SELECT $2, owner_id, workflow, 'queued', input_summary, policy_digest, job_id FROM jobs WHERE job_id = $1
), told AS (
    INSERT INTO job_events (job_id, seq, type, data)
    VALUES ($2, 1, 'status', jsonb_build_object('status', 'queued', 'retry_of', $1::text))
)
INSERT INTO job_artifacts (job_id, digest, role)
SELECT $2, digest, role FROM job_artifacts WHERE job_id = $1 AND role IN ('input', 'policy')
"""


async def dead_letters(
    plane: ControlPlane, principal: Principal, *, cursor: str | None = None, limit: int = 100
) -> DeadLetterPage:
    """Newest first. Raises ``Refused``: ``forbidden``; ``invalid_request`` for a cursor that no page gave."""
    require(principal, "admin")
    pool = plane.database.pool
    place = None if cursor is None else await pool.fetchval(_PLACE, cursor)
    if cursor is not None and place is None:
        raise Refused("invalid_request", "no page gave this cursor")
    rows = await pool.fetch(_PAGE, cursor, place, limit + 1)
    shown = rows[:limit]
    return DeadLetterPage(
        runs=tuple(_letter(row) for row in shown),
        next_cursor=shown[-1]["run_id"] if len(rows) > limit else None,
    )


async def count_dead(connection: Connection) -> int:
    """How many runs ``dead_letters`` lists in all."""
    count: int = await connection.fetchval(_COUNT)
    return count


async def requeue(plane: ControlPlane, principal: Principal, job_id: str) -> JobView:
    """A new job that does the work of a failed one; asked for again, the same new job.

    It belongs to the old one's owner and keeps its request and its policy, from the first run on. Raises
    ``Refused``: ``forbidden``; ``not_found``; ``conflict`` for a job that has not failed; ``unknown_runner``,
    ``unknown_worker``, ``artifact_missing`` for what it names and is gone.
    """
    require(principal, "user", "admin")
    async with plane.database.transaction() as connection:
        # Locked, so that of two who ask the second finds the first one's job.
        old = await connection.fetchrow(_OLD, job_id, principal.principal_id, principal.kind == "admin")
        if old is None:
            raise Refused("not_found", "no such job")
        if old["status"] != "failed":
            raise Refused("conflict", f"the job is {old['status']}: only a failed one is done again")
        again = await connection.fetchval(_AGAIN, job_id)
        if again is None:
            again = await _add(plane, connection, old)
            await record(connection, principal.principal_id, "job.requeued", job_id, {"as": again})
    return await get_job(plane, principal, again)


async def _add(plane: ControlPlane, connection: Connection, old: Row) -> str:
    job_id = f"job_{secrets.token_hex(6)}"
    try:
        await connection.execute(_ADD, old["job_id"], job_id)
    except asyncpg.ForeignKeyViolationError as error:
        raise Refused("artifact_missing", "an artifact of the job is no longer kept") from error
    summary = old["input_summary"]
    policy = await policy_of(plane, connection, old["policy_digest"])
    adapter = adapter_of(options_of(summary["options"]))
    # As at first: what it names may be gone meanwhile, a runner or a worker.
    await adapter.admit(connection, summary)
    if runs := adapter.begin(summary, policy, plane.settings.default_limits):
        await enqueue(plane, connection, [(job_id, run) for run in runs])
    return job_id


def _letter(row: Row) -> DeadLetter:
    return DeadLetter(
        run_id=row["run_id"],
        job_id=row["job_id"],
        stage=row["stage"],
        role=row["role"],
        attempts=row["attempt"],
        runner_id=row["runner_id"],
        failure=msgspec.convert(row["failure"], JobError),
        finished_at=utc_text(row["finished_at"]),
        retried_by=row["retried_by"],
    )
