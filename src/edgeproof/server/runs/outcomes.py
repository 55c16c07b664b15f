"""What became of a run, for whoever tells it a second time."""

from __future__ import annotations

from edgeproof.contract.errors import Refused
from edgeproof.domain.runs import Lease
from edgeproof.server.db.rows import Row
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.runs import queue_sql


async def repeated_outcome(
    plane: ControlPlane, principal: Principal, run_id: str, lease: Lease, submission: str
) -> Row:
    """The stored outcome that this very submission made, with the columns of ``queue_sql.OUTCOME``.

    Raises ``Refused`` (``stale_lease``, ``different_outcome``).
    """
    row = await plane.database.pool.fetchrow(queue_sql.OUTCOME, run_id)
    mine = (lease.attempt, lease.digest, principal.runner_id)
    if row is None or (row["attempt"], row["lease_digest"], row["runner_id"]) != mine:
        raise Refused("stale_lease", f"run {run_id}, attempt {lease.attempt}")
    if row["submission_digest"] is None:
        raise Refused("stale_lease", f"run {run_id} has ended without a word of its runner")
    if row["submission_digest"] != submission:
        raise Refused("different_outcome", f"run {run_id} is {row['state']}")
    found: Row = row
    return found
