"""A runner's standing: at work, draining (it finishes what it holds), or quarantined; only claims look at it.

A runner is quarantined when it says itself that it is unfit, or after ``quarantine_after`` runs in a row that
ended by its own trouble (``contract.faults``): it would use up other people's attempts. Only an operator
releases it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobError
from edgeproof.contract.log_ids import about
from edgeproof.contract.runners import RunnerStanding, StandingView
from edgeproof.server.db.database import Connection
from edgeproof.server.db.notifier import notify
from edgeproof.server.db.times import utc_text
from edgeproof.server.db.turns import RUNS_CHANNEL, turn_key
from edgeproof.server.plane.audit_log import CONTROL_PLANE, record
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import require

ITSELF: Final = "edgeproof"
"""Who quarantined a runner that no operator did."""

_logger = logging.getLogger(__name__)
_SAID: Final[Mapping[RunnerStanding, str]] = {
    "active": "released",
    "draining": "drained",
    "quarantined": "quarantined",
}

_SET: Final = """
UPDATE runners SET standing = $2, standing_reason = $3, standing_by = $4, standing_since = clock_timestamp(),
    strikes = CASE WHEN $2 = 'active' THEN 0 ELSE strikes END
WHERE runner_id = $1
RETURNING runner_id, standing, standing_reason, standing_since,
    (SELECT count(*) FROM run_queue q WHERE q.state = 'CLAIMED' AND q.runner_id = $1) AS held
"""
_STRIKE: Final = """
UPDATE runners SET strikes = strikes + 1,
    standing = CASE WHEN quarantine THEN 'quarantined' ELSE standing END,
    standing_reason = CASE WHEN quarantine THEN $3 ELSE standing_reason END,
    standing_by = CASE WHEN quarantine THEN $4 ELSE standing_by END,
    standing_since = CASE WHEN quarantine THEN clock_timestamp() ELSE standing_since END
FROM (SELECT strikes + 1 >= $2::integer AND $2 > 0 AND standing <> 'quarantined' AS quarantine
      FROM runners WHERE runner_id = $1 FOR NO KEY UPDATE) now
WHERE runner_id = $1
RETURNING quarantine
"""
_HOLD: Final = "SELECT FROM runners WHERE runner_id = $1 FOR NO KEY UPDATE"
_UNFIT: Final = """
UPDATE runners SET standing = 'quarantined', standing_reason = $2, standing_by = $3,
    standing_since = clock_timestamp()
WHERE runner_id = $1 AND standing <> 'quarantined'
RETURNING runner_id
"""


async def set_standing(
    plane: ControlPlane, principal: Principal, runner_id: str, standing: RunnerStanding, reason: str
) -> StandingView:
    """An operator drains, quarantines or releases (``active``) a runner. Repeating it is harmless.

    What it holds it may finish. Raises ``Refused`` (``forbidden``, ``not_found``).
    """
    require(principal, "admin")
    async with plane.database.transaction() as connection:
        row = await connection.fetchrow(_SET, runner_id, standing, reason, principal.principal_id)
        if row is None:
            raise Refused("not_found", f"no runner {runner_id!r}")
        told = {"reason": reason}
        await record(connection, principal.principal_id, f"runner.{standing}", runner_id, told)
        if standing == "active":
            # It may be waiting with a claim.
            await notify(connection, RUNS_CHANNEL, turn_key(0, runner_id))
    with about(runner_id=runner_id):
        _logger.info("runner %s by %s", _SAID[standing], principal.principal_id)
    return StandingView(
        runner_id=row["runner_id"],
        standing=row["standing"],
        reason=row["standing_reason"],
        since=utc_text(row["standing_since"]),
        held=row["held"],
    )


async def count_strike(plane: ControlPlane, connection: Connection, runner_id: str, error: JobError) -> None:
    """One more run in a row that ended by the runner's own trouble; when too many, it is quarantined."""
    limit = plane.settings.quarantine_after
    ended = f"{limit} runs in a row ended by the device's or infrastructure's fault"
    reason = f"{ended}, the last by {error.code}: {error.message}"[:1000]
    if await connection.fetchval(_STRIKE, runner_id, limit, reason, ITSELF):
        await record(connection, CONTROL_PLANE, "runner.quarantined", runner_id, {"reason": reason})
        with about(runner_id=runner_id):
            _logger.info(
                "runner quarantined: %s runs in a row ended by its own trouble, the last by %s",
                limit,
                error.code,
            )


async def hold_strikes(connection: Connection, runner_id: str) -> None:
    """Lock the runner, as ``count_strike`` does, for who may set its strikes to none later."""
    await connection.execute(_HOLD, runner_id)


async def quarantine_unfit(plane: ControlPlane, runner_id: str, unfit: str) -> None:
    """The runner's own health check failed: ``unfit`` says how."""
    reason = f"the runner says that it is unfit: {unfit}"
    async with plane.database.transaction() as connection:
        changed = await connection.fetchval(_UNFIT, runner_id, reason, ITSELF) is not None
        if changed:
            await record(connection, runner_id, "runner.quarantined", runner_id, {"reason": reason})
    if changed:
        with about(runner_id=runner_id):
            # What a runner says of itself may hold anything: no line of it is to look like one of ours.
            _logger.info("runner quarantined: it says that it is unfit: %r", unfit)
