"""Jobs as their owners see them. Admins see all; an absent job and another user's answer alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobError, JobPage, JobStatus, JobView, Progress, RunView
from edgeproof.contract.runners import Capabilities, Needs
from edgeproof.domain.jobs import NEXT_ACTIONS, TERMINAL
from edgeproof.domain.requirements import missing
from edgeproof.server import queue_sql
from edgeproof.server.control_plane import ControlPlane, Principal
from edgeproof.server.database import Connection
from edgeproof.server.events import demand_visible
from edgeproof.server.principals import require
from edgeproof.server.rows import Row
from edgeproof.server.times import utc_text

_JOB: Final = """
SELECT job_id, status, created_at, updated_at, input_summary, result, error, cancel_requested_at
FROM jobs WHERE job_id = $1
"""
# A page carries the decision and its summary, not the whole bundle.
_PAGE: Final = """
SELECT seq, job_id, status, created_at, updated_at, input_summary, error, cancel_requested_at,
    CASE WHEN result IS NOT NULL THEN jsonb_build_object(
        'summary', result -> 'summary', 'deployment_decision', result -> 'deployment_decision'
    ) END AS result
FROM jobs
WHERE (owner_id = $1 OR $2) AND ($3::text IS NULL OR status = $3) AND ($4::bigint IS NULL OR seq < $4)
ORDER BY seq DESC LIMIT $5
"""
_NEEDS: Final = "SELECT class_id, needs FROM requirement_classes WHERE class_id = ANY($1::integer[])"
_RUNNERS: Final = """
SELECT runner_id, capabilities FROM runners JOIN runner_keys USING (public_key) WHERE removed_at IS NULL
"""
_NOTHING: Final = Capabilities(device_class="none", cpu_count=0, memory_bytes=0, isolation="none")


async def get_job(plane: ControlPlane, principal: Principal, job_id: str) -> JobView:
    """Raises ``Refused`` (``not_found``)."""
    await demand_visible(plane, principal, job_id)
    async with plane.database.transaction() as connection:
        (row,) = await connection.fetch(_JOB, job_id)
        return await _view(connection, row)


async def list_jobs(
    plane: ControlPlane,
    principal: Principal,
    *,
    status: JobStatus | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> JobPage:
    """Newest first; ``result`` is shortened to summary and decision.

    Raises ``Refused`` (``invalid_request``) for a cursor that no page gave.
    """
    require(principal, "user", "admin")
    if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise Refused("invalid_request", "no page gave this cursor")
    async with plane.database.transaction() as connection:
        rows = await connection.fetch(
            _PAGE,
            principal.principal_id,
            principal.kind == "admin",
            status,
            None if cursor is None else int(cursor),
            limit + 1,
        )
        jobs = tuple([await _view(connection, row) for row in rows[:limit]])
    return JobPage(jobs=jobs, next_cursor=str(rows[limit - 1]["seq"]) if len(rows) > limit else None)


async def _view(connection: Connection, row: Row) -> JobView:
    job_id, status, cancelled_at = row["job_id"], row["status"], row["cancel_requested_at"]
    runs = await connection.fetch(queue_sql.RUNS_OF_JOB, job_id)
    waiting_for = await _waiting_for(connection, [run for run in runs if run["state"] == "PENDING"])
    return JobView(
        job_id=job_id,
        status=status,
        created_at=utc_text(row["created_at"]),
        updated_at=utc_text(row["updated_at"]),
        input_summary=row["input_summary"],
        result=row["result"],
        error=None if row["error"] is None else msgspec.convert(row["error"], JobError),
        links=_links(job_id, status),
        next_actions=NEXT_ACTIONS[status],
        cancel_requested_at=None if cancelled_at is None else utc_text(cancelled_at),
        runs=tuple(
            RunView(
                run_id=run["run_id"],
                stage=run["stage"],
                role=run["role"],
                state=run["state"],
                attempt=run["attempt"],
                runner_id=run["runner_id"],
                progress=None if run["progress"] is None else msgspec.convert(run["progress"], Progress),
                waiting_for=waiting_for.get(run["run_id"], ()),
            )
            for run in runs
        ),
    )


def _links(job_id: str, status: JobStatus) -> dict[str, str]:
    own = f"/api/jobs/{job_id}"
    links = {"self": own, "events": f"{own}/events"}
    if status == "completed":
        links |= {"result": own, "evidence": f"{own}/evidence"}
    elif status not in TERMINAL:
        links["cancel"] = f"{own}/cancel"
    return links


async def _waiting_for(connection: Connection, pending: Sequence[Row]) -> dict[str, tuple[str, ...]]:
    """By run: what the registered runner that comes nearest lacks; no entry where one can do it."""
    if not pending:
        return {}
    runners = {
        row["runner_id"]: msgspec.convert(row["capabilities"], Capabilities)
        for row in await connection.fetch(_RUNNERS)
    }
    rows = await connection.fetch(_NEEDS, [run["class_id"] for run in pending])
    needs = {row["class_id"]: msgspec.convert(row["needs"], Needs) for row in rows}
    found: dict[str, tuple[str, ...]] = {}
    for run in pending:
        named = run["assigned_runner_id"]
        eligible = [able for runner, able in runners.items() if named in (None, runner)]
        lacks = [missing(needs[run["class_id"]], able) for able in eligible or [_NOTHING]]
        found[run["run_id"]] = min(lacks, key=len)
    return found
