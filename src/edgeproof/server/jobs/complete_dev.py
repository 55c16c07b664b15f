"""A developer completes a job by hand (seed 000), on servers that run for development alone.

The job goes its whole road, queued → running → completed, in one transaction; runs that wait or are leased
are taken away, so that no runner works for an ended job.
"""

from __future__ import annotations

from typing import Any, Final

from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobView
from edgeproof.domain.jobs import TERMINAL
from edgeproof.lab.dev_bundle import dev_bundle
from edgeproof.server.jobs.job_endings import end_job
from edgeproof.server.jobs.job_facts import policy_of
from edgeproof.server.jobs.job_starts import start_job
from edgeproof.server.jobs.jobs import get_job
from edgeproof.server.plane.audit_log import record
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.events import demand_visible
from edgeproof.server.plane.principals import require
from edgeproof.server.runs import queue_sql
from edgeproof.server.runs.run_endings import leave_queue

_LOCK_JOB: Final = """
SELECT job_id, status, created_at, updated_at, input_summary, policy_digest, cancel_requested_at
FROM jobs WHERE job_id = $1 FOR UPDATE
"""


def demand_dev(plane: ControlPlane) -> None:
    """Raises ``Refused`` (``not_found``) unless the server runs with ``--dev``."""
    if not plane.settings.dev:
        raise Refused("not_found", "only a server that runs with --dev has this route")


async def complete_dev(
    plane: ControlPlane, principal: Principal, job_id: str, result: dict[str, Any]
) -> JobView:
    """Complete an active job with ``result``, marked as unsigned (``lab.dev_bundle``).

    Raises ``Refused``: ``not_found`` where the server does not run with ``--dev`` or has no such job;
    ``job_terminal``; ``conflict`` for a job that is being cancelled; ``invalid_request``.
    """
    demand_dev(plane)
    require(principal, "user")
    await demand_visible(plane, principal, job_id)
    async with plane.database.transaction() as connection:
        runs = await connection.fetch(queue_sql.LOCK_RUNS_OF_JOB, job_id)
        (job,) = await connection.fetch(_LOCK_JOB, job_id)
        if job["status"] in TERMINAL:
            raise Refused("job_terminal", f"the job is {job['status']}")
        if job["cancel_requested_at"] is not None:
            raise Refused("conflict", "the job is being cancelled")
        policy = await policy_of(plane, connection, job["policy_digest"])
        bundle = dev_bundle(result, f"{policy.name}-v{policy.version}", job["policy_digest"])
        if job["status"] == "queued":
            await start_job(connection, job)
        # Once more: a step that was under way may have added runs before the job was locked.
        late = await connection.fetch(queue_sql.LOCK_LATE_RUNS_OF_JOB, job_id)
        for run in {one["run_id"]: one for one in (*runs, *late)}.values():
            await leave_queue(connection, run, "CANCELLED")
        running = {"job_id": job_id, "status": "running"}
        await end_job(connection, running, "completed", result=bundle)
        await record(connection, principal.principal_id, "job.completed_by_hand", job_id)
    return await get_job(plane, principal, job_id)
