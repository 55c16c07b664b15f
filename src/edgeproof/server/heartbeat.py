"""A runner says that it is alive: the lease lasts longer, progress is told, a wish to cancel comes back."""

from __future__ import annotations

import msgspec

from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import HeartbeatRequest, HeartbeatResponse
from edgeproof.domain.runs import Lease
from edgeproof.server import queue_sql
from edgeproof.server.control_plane import ControlPlane, Principal
from edgeproof.server.events import append_event
from edgeproof.server.principals import require
from edgeproof.server.times import utc_text


async def heartbeat(
    plane: ControlPlane, principal: Principal, run_id: str, lease: Lease, request: HeartbeatRequest
) -> HeartbeatResponse:
    """Extend the lease. Raises ``Refused`` (``forbidden``; ``stale_lease`` also when it has expired)."""
    require(principal, "runner")
    async with plane.database.transaction() as connection:
        row = await connection.fetchrow(
            queue_sql.HEARTBEAT,
            run_id,
            lease.attempt,
            lease.digest,
            principal.runner_id,
            plane.settings.lease_seconds,
            request.progress,
            request.status,
        )
        if row is None:
            raise Refused("stale_lease", f"run {run_id}, attempt {lease.attempt}")
        if row["moved"] and request.progress is not None:
            data = {
                "run_id": run_id,
                "stage": row["stage"],
                "role": row["role"],
                **msgspec.to_builtins(request.progress),
            }
            await append_event(connection, row["job_id"], "progress", data)
    return HeartbeatResponse(
        cancel_requested=row["cancel_requested"], lease_expires_at=utc_text(row["lease_expires_at"])
    )
