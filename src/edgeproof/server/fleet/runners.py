"""The registered runners, as users and admins see them."""

from __future__ import annotations

from typing import Final

import msgspec

from edgeproof.contract.errors import Refused
from edgeproof.contract.fleet import FittingClass, HeldRun, RunnerDetail
from edgeproof.contract.runners import Capabilities, Needs, RunnerView
from edgeproof.server.db.rows import Row
from edgeproof.server.db.times import utc_text
from edgeproof.server.fleet.runner_keys import keys_of_runner
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import require

_LIST: Final = """
SELECT runner_id, hostname, public_key, capabilities, registered_at, last_seen_at,
    standing, standing_reason,
    EXISTS (SELECT FROM good_keys WHERE good_keys.runner_id = runners.runner_id) AS allowed
FROM runners ORDER BY runner_id LIMIT 10000
"""
_ONE: Final = """
SELECT runner_id, hostname, public_key, capabilities, registered_at, last_seen_at,
    standing, standing_reason,
    EXISTS (SELECT FROM good_keys WHERE good_keys.runner_id = runners.runner_id) AS allowed
FROM runners WHERE runner_id = $1
"""
_HOLDING: Final = """
SELECT q.run_id, r.job_id, r.stage, q.attempt, q.lease_expires_at, q.status_text
FROM run_queue q JOIN runs r USING (run_id)
WHERE q.state = 'CLAIMED' AND q.runner_id = $1 ORDER BY q.claimed_at, q.run_id
"""
_OUTCOMES: Final = "SELECT state, count(*) AS runs FROM run_outcomes WHERE runner_id = $1 GROUP BY state"
_CLASSES: Final = """
SELECT c.class_id, c.needs, coalesce(q.pending, 0) AS pending
FROM runner_classes rc JOIN requirement_classes c USING (class_id) LEFT JOIN (
    SELECT class_id, count(*) AS pending FROM run_queue WHERE state = 'PENDING' GROUP BY class_id
) q USING (class_id)
WHERE rc.runner_id = $1 ORDER BY pending DESC, c.class_id LIMIT 200
"""


async def list_runners(plane: ControlPlane, principal: Principal) -> tuple[RunnerView, ...]:
    """Every registered runner by id, also those that were not seen for long."""
    require(principal, "admin", "user")
    return tuple(_view(row) for row in await plane.database.pool.fetch(_LIST))


async def show_runner(plane: ControlPlane, principal: Principal, runner_id: str) -> RunnerDetail:
    """One runner, its keys, what it can do, holds, and has done. Raises ``not_found``."""
    require(principal, "admin")
    async with plane.database.transaction() as connection:
        row = await connection.fetchrow(_ONE, runner_id)
        if row is None:
            raise Refused("not_found", f"no runner {runner_id}")
        keys = await keys_of_runner(connection, runner_id)
        holding = await connection.fetch(_HOLDING, runner_id)
        outcomes = await connection.fetch(_OUTCOMES, runner_id)
        classes = await connection.fetch(_CLASSES, runner_id)
    return RunnerDetail(
        runner=_view(row),
        keys=keys,
        holding=tuple(
            HeldRun(
                run_id=run["run_id"],
                job_id=run["job_id"],
                stage=run["stage"],
                attempt=run["attempt"],
                lease_expires_at=utc_text(run["lease_expires_at"]),
                status_text=run["status_text"],
            )
            for run in holding
        ),
        outcomes={one["state"]: one["runs"] for one in outcomes},
        classes=tuple(
            FittingClass(
                class_id=one["class_id"],
                needs=msgspec.convert(one["needs"], Needs),
                pending=one["pending"],
            )
            for one in classes
        ),
    )


def _view(row: Row) -> RunnerView:
    return RunnerView(
        runner_id=row["runner_id"],
        hostname=row["hostname"],
        public_key=row["public_key"],
        capabilities=msgspec.convert(row["capabilities"], Capabilities),
        registered_at=utc_text(row["registered_at"]),
        last_seen_at=utc_text(row["last_seen_at"]),
        standing=row["standing"],
        standing_reason=row["standing_reason"],
        allowed=row["allowed"],
    )
