"""How a job leaves ``queued``. The caller holds the job's row, locked."""

from __future__ import annotations

from typing import Final

from edgeproof.domain.jobs import move
from edgeproof.lab.worker_request import worker_request
from edgeproof.server.db.database import Connection
from edgeproof.server.db.rows import Row
from edgeproof.server.db.times import utc_text
from edgeproof.server.plane.events import append_event

_START_JOB: Final = """
UPDATE jobs SET status = $2, worker_request = $3, updated_at = clock_timestamp() WHERE job_id = $1
"""


async def start_job(connection: Connection, job: Row) -> None:
    """The job is running; its worker request is kept with it (DESIGN, "How data flows").

    ``job`` has the columns ``job_id, status, created_at, updated_at, input_summary``. Raises ``Refused``
    (``conflict``) for a job that is not queued.
    """
    status = move(job["status"], "running")
    request = worker_request(told_job(job))
    await connection.execute(_START_JOB, job["job_id"], status, request)
    await append_event(connection, job["job_id"], "status", {"status": status})


def told_job(job: Row) -> dict[str, object]:
    """The columns that ``start_job`` names, with times as the wire has them."""
    return {
        "job_id": job["job_id"],
        "status": job["status"],
        "created_at": utc_text(job["created_at"]),
        "updated_at": utc_text(job["updated_at"]),
        "input_summary": job["input_summary"],
    }
