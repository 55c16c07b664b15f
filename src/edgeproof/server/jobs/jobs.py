"""Jobs as their owners see them. Admins see all; an absent job and another user's answer alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Final

import msgspec

from edgeproof.contract.base import Wire
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import (
    JobError,
    JobFilter,
    JobPage,
    JobStatus,
    JobView,
    Progress,
    RunState,
    RunView,
    Withdrawal,
)
from edgeproof.contract.runners import Needs
from edgeproof.domain.jobs import NEXT_ACTIONS, TERMINAL
from edgeproof.domain.requirements import class_digest
from edgeproof.server.db.cursors import LAST, read_cursor
from edgeproof.server.db.rows import Row
from edgeproof.server.db.times import utc_text
from edgeproof.server.jobs.waiting_for import Kind, lacking, measurements_to_come
from edgeproof.server.jobs.withdraw import WITHDRAWAL, reviewed_again
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import require
from edgeproof.server.runs import queue_sql

# No text but our own goes into these: S608 means statements made of what somebody sent.
_OF_JOB: Final = f"""
j.seq, j.job_id, j.status, j.created_at, j.updated_at, j.reported_at, j.input_summary, j.error,
j.cancel_requested_at, j.retry_of, j.policy_digest, {WITHDRAWAL} AS withdrawn
"""
_COLUMNS: Final = f"{_OF_JOB}, {queue_sql.RUNS_AS_SHOWN} AS runs"
_ONE: Final = f"{_OF_JOB}, {queue_sql.RUNS_WITH_POSITION} AS runs"
_JOB: Final = f"""
SELECT {_ONE}, j.result FROM jobs j WHERE j.job_id = $1 AND (j.owner_id = $2 OR $3)
"""  # noqa: S608 - names of ours
_DOCUMENT: Final = f"""
SELECT {_ONE}, NULL AS result, j.result::text AS result_text
FROM jobs j WHERE j.job_id = $1 AND (j.owner_id = $2 OR $3)
"""  # noqa: S608 - names of ours


_WANTED: Final = {
    "owner": "j.owner_id = {}",
    "status": "j.status = {}",
    "workflow": "j.workflow = {}",
    "policy": "(j.policy_digest = {0} OR j.policy_digest IN (SELECT digest FROM policies WHERE name = {0}))",
}


@cache
def _page(*wanted: str) -> str:
    """A page carries the decision and its summary, not the whole bundle.

    Each set of conditions has its own statement: one for all could use none of the indexes.
    """
    conditions = ["j.seq < $1"]
    conditions += [_WANTED[name].format(f"${number}") for number, name in enumerate(wanted, 3)]
    return f"""
    SELECT {_COLUMNS}, CASE WHEN j.result IS NOT NULL THEN jsonb_build_object(
        'summary', j.result_summary, 'deployment_decision', j.result_decision
    ) END AS result
    FROM jobs j WHERE {" AND ".join(conditions)} ORDER BY j.seq DESC LIMIT $2
    """  # noqa: S608 - names of ours


class _Run(Wire, frozen=True, kw_only=True):
    """As ``queue_sql.RUNS_AS_SHOWN`` tells it."""

    run_id: str
    stage: str
    role: str
    state: RunState
    attempt: int
    runner_id: str | None
    progress: Progress | None
    class_id: int
    assigned_runner_id: str | None
    fits: bool
    queue_position: int | None
    status_text: str | None


_RUNS: Final = msgspec.json.Decoder(tuple[_Run, ...])


async def get_job(plane: ControlPlane, principal: Principal, job_id: str) -> JobView:
    """Raises ``Refused`` (``not_found``) for a job that is absent or another user's."""
    admin = principal.kind == "admin"
    row = await plane.database.pool.fetchrow(_JOB, job_id, principal.principal_id, admin)
    if row is None:
        raise Refused("not_found", "no such job")
    (view,) = await _views(plane, [row])
    return view


async def job_document(plane: ControlPlane, principal: Principal, job_id: str) -> bytes:
    """The ``JobView`` as JSON, its result as it is stored: nothing is gained by reading it on the way.

    Raises as ``get_job``.
    """
    admin = principal.kind == "admin"
    row = await plane.database.pool.fetchrow(_DOCUMENT, job_id, principal.principal_id, admin)
    if row is None:
        raise Refused("not_found", "no such job")
    (view,) = await _views(plane, [row])
    told = msgspec.structs.asdict(view)
    if row["result_text"] is not None:
        told["result"] = msgspec.Raw(row["result_text"].encode())
        if view.withdrawn is not None:
            told["result"] = reviewed_again(msgspec.json.decode(row["result_text"]), view.withdrawn)
    return msgspec.json.encode(told)


async def list_jobs(
    plane: ControlPlane,
    principal: Principal,
    wanted: JobFilter | None = None,
    *,
    cursor: str | None = None,
    limit: int = 50,
) -> JobPage:
    """Newest first; ``result`` is shortened to summary and decision. Users see their own jobs, admins all.

    Raises ``Refused`` (``invalid_request``) for a cursor that no page gave.
    """
    require(principal, "user", "admin")
    before = read_cursor(cursor)
    wanted = wanted or JobFilter()
    asked = {name: value for name in _WANTED if (value := getattr(wanted, name)) is not None}
    if principal.kind != "admin":
        if wanted.owner not in (None, principal.principal_id):
            return JobPage(jobs=())
        asked = {"owner": principal.principal_id, **asked}
    rows = await plane.database.pool.fetch(
        _page(*asked), LAST if before is None else before, limit + 1, *asked.values()
    )
    jobs = await _views(plane, rows[:limit])
    return JobPage(jobs=jobs, next_cursor=str(rows[limit - 1]["seq"]) if len(rows) > limit else None)


async def _views(plane: ControlPlane, rows: Sequence[Row]) -> tuple[JobView, ...]:
    runs = [() if row["runs"] is None else _RUNS.decode(row["runs"]) for row in rows]
    unmet = {(run.class_id, run.assigned_runner_id) for of_job in runs for run in of_job if not run.fits}
    to_come = await measurements_to_come(
        plane,
        [
            row
            for row, of_job in zip(rows, runs, strict=True)
            if of_job and all(run.stage == "forge" for run in of_job)
        ],
    )
    lacks = await lacking(plane, list(unmet), list(to_come.values()))
    return tuple(
        _view(row, of_job, lacks, to_come.get(row["job_id"])) for row, of_job in zip(rows, runs, strict=True)
    )


def _view(
    row: Row,
    runs: Sequence[_Run],
    lacks: Mapping[Kind, tuple[str, ...]],
    to_come: tuple[str | None, Needs] | None,
) -> JobView:
    job_id, status, cancelled_at = row["job_id"], row["status"], row["cancel_requested_at"]
    withdrawal = msgspec.convert(row["withdrawn"], Withdrawal | None)
    waiting_for = {run.run_id: lacks[run.class_id, run.assigned_runner_id] for run in runs if not run.fits}
    result = row["result"] if withdrawal is None else reviewed_again(row["result"], withdrawal)
    return JobView(
        job_id=job_id,
        status=status,
        created_at=utc_text(row["created_at"]),
        updated_at=row["reported_at"] or utc_text(row["updated_at"]),
        input_summary=row["input_summary"],
        result=result,
        error=None if row["error"] is None else msgspec.convert(row["error"], JobError),
        links=_links(job_id, status),
        next_actions=NEXT_ACTIONS[status],
        cancel_requested_at=None if cancelled_at is None else utc_text(cancelled_at),
        withdrawn=withdrawal,
        runs=tuple(
            RunView(
                run_id=run.run_id,
                stage=run.stage,
                role=run.role,
                state=run.state,
                attempt=run.attempt,
                runner_id=run.runner_id,
                progress=run.progress,
                waiting_for=waiting_for.get(run.run_id, ()),
                queue_position=run.queue_position,
                status_text=run.status_text,
            )
            for run in runs
        ),
        retry_of=row["retry_of"],
        waiting_for=() if to_come is None else _for_the_measurement(to_come, lacks, waiting_for.values()),
    )


def _for_the_measurement(
    to_come: tuple[str | None, Needs],
    lacks: Mapping[Kind, tuple[str, ...]],
    told: Iterable[tuple[str, ...]],
) -> tuple[str, ...]:
    """But for what a run is ``told`` to wait for already."""
    named, needs = to_come
    known = {one for of_run in told for one in of_run}
    lacking = lacks.get((class_digest(needs), named), ())
    return tuple(f"for the measurement: {one}" for one in lacking if one not in known)


def _links(job_id: str, status: JobStatus) -> dict[str, str]:
    own = f"/api/jobs/{job_id}"
    links = {"self": own, "events": f"{own}/events"}
    if status == "completed":
        links |= {"result": own, "evidence": f"{own}/evidence"}
    elif status not in TERMINAL:
        links["cancel"] = f"{own}/cancel"
    return links
