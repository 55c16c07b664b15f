"""A user wants a job to stop: what waits is cancelled now, what is leased is told with its next heartbeat."""

from __future__ import annotations

from typing import Final

from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobView
from edgeproof.domain.jobs import TERMINAL
from edgeproof.server.jobs.advance import advance
from edgeproof.server.jobs.job_endings import LOCK_JOB
from edgeproof.server.jobs.jobs import get_job
from edgeproof.server.plane.audit_log import record
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.events import append_event, demand_visible
from edgeproof.server.plane.principals import require

_REQUEST: Final = """
UPDATE jobs SET cancel_requested_at = clock_timestamp(), needs_advance = true WHERE job_id = $1
"""


async def cancel(plane: ControlPlane, principal: Principal, job_id: str) -> JobView:
    """Ask for the job to be cancelled; it is once none of its runs is leased. Repeating it is harmless.

    Raises ``Refused`` (``not_found``; ``job_terminal`` for a job that completed or failed).
    """
    require(principal, "user", "admin")
    await demand_visible(plane, principal, job_id)
    async with plane.database.transaction() as connection:
        (job,) = await connection.fetch(LOCK_JOB, job_id)
        if job["status"] in TERMINAL and job["status"] != "cancelled":
            raise Refused("job_terminal", f"the job is {job['status']}")
        if job["status"] not in TERMINAL and job["cancel_requested_at"] is None:
            await append_event(
                connection, job_id, "status", {"status": job["status"], "cancel_requested": True}
            )
            await connection.execute(_REQUEST, job_id)
            await record(connection, principal.principal_id, "job.cancel_requested", job_id)
    await advance(plane, job_id)
    return await get_job(plane, principal, job_id)
