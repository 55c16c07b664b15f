"""A key leaves the allowlist: from that moment its tokens open nothing, and its leases end.

The removal commits first, so that whatever asks afterwards is refused; then each lease ends in a transaction
of its own, as the reaper would end it. A claim that was under way meanwhile is found by the reaper's next
look, and can do nothing until then.
"""

from __future__ import annotations

import logging
from datetime import datetime
from functools import partial
from typing import Final

from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.fleet import RemovedKey
from edgeproof.contract.jobs import JobError
from edgeproof.contract.log_ids import about
from edgeproof.server.db.database import lock
from edgeproof.server.db.times import utc_text
from edgeproof.server.fleet.requirements import match_registered_runner
from edgeproof.server.fleet.runner_keys import key_in
from edgeproof.server.fleet.static_keys import STATIC
from edgeproof.server.jobs.withdraw import withdraw_decisions
from edgeproof.server.plane.audit_log import record
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import require
from edgeproof.server.queue.one_by_one import end_each
from edgeproof.server.runs import queue_sql
from edgeproof.server.runs.run_endings import lease_ended

_logger = logging.getLogger(__name__)

# Removing again may add that it was compromised, or since when; nothing else, but that a removal by the
# static list becomes an admin's: that list cannot take it back then.
_REMOVE: Final = """
INSERT INTO runner_keys (public_key, added_by, removed_at, removed_by, removed_reason, compromised_since)
VALUES ($1, $2, clock_timestamp(), $2, $3, $4)
ON CONFLICT (public_key) DO UPDATE SET
    removed_at = coalesce(runner_keys.removed_at, clock_timestamp()),
    removed_by = coalesce(nullif(runner_keys.removed_by, $5), $2),
    removed_reason = CASE
        WHEN $4::timestamptz IS NULL AND runner_keys.removed_by IS DISTINCT FROM $5
        THEN coalesce(runner_keys.removed_reason, $3) ELSE $3 END,
    compromised_since = least(runner_keys.compromised_since, $4)
RETURNING runner_id
"""


async def remove_key(
    plane: ControlPlane,
    principal: Principal,
    key: PublicKey,
    reason: str = "removed by an admin",
    compromised_since: datetime | None = None,
) -> RemovedKey:
    """Take a key off the allowlist, at once and against every enrolment token, known or not.

    With ``compromised_since``, decisions that rest on what was received from it since then are withdrawn.
    Raises ``Refused`` (``invalid_request``) for a time to come.
    """
    require(principal, "admin")
    async with plane.database.transaction() as connection:
        await lock(connection, f"runner-key:{key.base64}")
        if compromised_since is not None and compromised_since > await connection.fetchval(
            "SELECT clock_timestamp()"
        ):
            raise Refused("invalid_request", "compromised_since lies in the future")
        runner_id = await connection.fetchval(
            _REMOVE, key.base64, principal.principal_id, reason, compromised_since, STATIC
        )
        told = {"reason": reason}
        if compromised_since is not None:
            told["compromised_since"] = utc_text(compromised_since)
        await record(connection, principal.principal_id, "key.removed", key.fingerprint, told)
        if runner_id is not None:
            await match_registered_runner(connection, runner_id)
        withdrawn = await withdraw_decisions(connection, key, principal.principal_id)
        view = await key_in(connection, key)
    with about(runner_id=runner_id):
        _logger.info("key %s removed by %s", key.fingerprint, principal.principal_id)
    ended = await end_unlisted_leases(plane)
    return RemovedKey(key=view, leases_ended=ended, withdrawn=withdrawn)


async def end_unlisted_leases(plane: ControlPlane) -> int:
    """End every lease whose key is no longer good; how many. Their runs wait again, or have failed."""
    unlisted = await plane.database.pool.fetch(queue_sql.UNLISTED)
    return await end_each((row["run_id"] for row in unlisted), partial(_end_one, plane))


async def _end_one(plane: ControlPlane, run_id: str) -> bool:
    async with plane.database.transaction() as connection:
        run = await connection.fetchrow(queue_sql.LOCK_UNLISTED, run_id)
        if run is None:
            return False
        error = JobError(
            code="key_not_allowed",
            message=f"the key of runner {run['runner_id']} is no longer allowed,"
            f" attempt {run['attempt']} of {run['max_attempts']}",
            stage=run["stage"],
        )
        await lease_ended(
            plane,
            connection,
            run,
            error,
            retryable=True,
            submission=None,
            about_runner="nothing",
            nobodys_doing=True,
        )
    plane.meters.lease_lost(run["stage"], error.code)
    with about(job_id=run["job_id"], run_id=run_id, runner_id=run["runner_id"]):
        _logger.info("lease ended: the key is no longer allowed, attempt %s", run["attempt"])
    return True
