"""A runner comes with a claim: what it says of itself is taken in, what it let go of ends, and it is told how
it stands.

Those who come while others are looked up are looked up together with the next (``plane/gathering``).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

import msgspec

from edgeproof.contract.errors import Refused
from edgeproof.contract.log_ids import about
from edgeproof.contract.runners import Capabilities, ClaimRequest
from edgeproof.server.db.rows import Row
from edgeproof.server.fleet.requirements import match_runner_classes
from edgeproof.server.fleet.standing import quarantine_unfit
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.server.queue.one_by_one import end_each
from edgeproof.server.runs import queue_sql
from edgeproof.server.runs.run_endings import AboutRunner, lease_lost

_logger = logging.getLogger(__name__)

# By runner, key, claim number, what it still holds, as keys (null: not said), and whether it tells its
# capabilities. A runner's row is written only when it says something new: a claim a second is no news. Rows
# that others hold are left alone, so that no two of these wait for each other.
_LOOK_UP: Final = """
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::jsonb[], $5::boolean[])
        WITH ORDINALITY AS t (runner_id, runner_key, claim_number, holding, tells, number)
), news AS MATERIALIZED (
    SELECT runner_id FROM runners
    WHERE runner_id IN (SELECT runner_id FROM asked) AND last_seen_at < clock_timestamp() - interval '10 s'
    ORDER BY runner_id FOR NO KEY UPDATE SKIP LOCKED
), seen AS (
    UPDATE runners SET last_seen_at = clock_timestamp() WHERE runner_id IN (SELECT runner_id FROM news)
)
SELECT a.number, r.standing, r.standing_reason, CASE WHEN a.tells THEN r.capabilities END AS capabilities,
    EXISTS (SELECT FROM run_queue q WHERE q.state = 'CLAIMED' AND q.runner_id = a.runner_id
        AND q.runner_key = a.runner_key AND NOT a.holding ? q.run_id) AS abandoned,
    EXISTS (SELECT FROM run_queue q WHERE q.state = 'CLAIMED' AND q.runner_id = a.runner_id
        AND q.runner_key = a.runner_key AND q.claim_number >= a.claim_number) AS late
FROM asked a JOIN runners r USING (runner_id)
"""
_SET_CAPABILITIES: Final = "UPDATE runners SET capabilities = $2 WHERE runner_id = $1"


class Caller(NamedTuple):
    """Who claims: a runner, one of its keys (base64), and the claim's number, of its process's counting."""

    runner_id: str
    key: str
    number: int | None


class _Arrival(NamedTuple):
    caller: Caller
    holding: Sequence[str] | None
    tells: bool


async def arrive(plane: ControlPlane, caller: Caller, request: ClaimRequest) -> Row:
    """``standing`` and ``standing_reason`` of the runner; ``late``: a later claim of its process was heard
    before, and this one changes nothing.

    Raises ``Refused`` (``unauthenticated``) for a runner that is not registered.
    """
    told = request.capabilities
    one = _Arrival(caller, request.holding, told is not None)
    me: Row = await plane.arrivals.ask(one, partial(_look_up, plane))
    if me["late"]:
        return me
    changed = False
    if told is not None and msgspec.convert(me["capabilities"], Capabilities) != told:
        changed = True
        async with plane.database.transaction() as connection:
            await connection.execute(_SET_CAPABILITIES, caller.runner_id, told)
            await match_runner_classes(connection, caller.runner_id, told)
    if request.unfit is not None:
        changed = True
        await quarantine_unfit(plane, caller.runner_id, request.unfit)
    if request.holding is not None and me["abandoned"]:
        changed = True
        await _end_abandoned(plane, caller, request.holding)
    if changed:
        me = await plane.arrivals.ask(one, partial(_look_up, plane))
    return me


async def _look_up(plane: ControlPlane, asked: Sequence[_Arrival]) -> list[Row | Refused]:
    rows = await plane.database.pool.fetch(
        _LOOK_UP,
        [one.caller.runner_id for one in asked],
        [one.caller.key for one in asked],
        [one.caller.number for one in asked],
        [None if one.holding is None else dict.fromkeys(one.holding, True) for one in asked],
        [one.tells for one in asked],
    )
    found: dict[int, Row] = {row["number"]: row for row in rows}
    unknown = Refused("unauthenticated", "this runner is not registered")
    return [found.get(number, unknown) for number in range(1, len(asked) + 1)]


async def _end_abandoned(plane: ControlPlane, caller: Caller, holding: Sequence[str]) -> None:
    """The leases of this key that its process no longer works under: all lost at once, by one answer or one
    process, so one strike."""
    abandoned = await plane.database.pool.fetch(
        queue_sql.ABANDONED, caller.runner_id, list(holding), caller.number, caller.key
    )
    attempts = {row["run_id"]: row["attempt"] for row in abandoned}
    await end_each(attempts, partial(_end_one_abandoned, plane, caller.runner_id, attempts, set()))


async def _end_one_abandoned(
    plane: ControlPlane, runner_id: str, attempts: Mapping[str, int], struck: set[str], run_id: str
) -> bool:
    """``struck`` holds the runner once it was struck for one of them."""
    async with plane.database.transaction() as connection:
        run = await connection.fetchrow(queue_sql.LOCK_ABANDONED, run_id, runner_id, attempts[run_id])
        if run is None:
            return False
        about_runner: AboutRunner = "nothing" if runner_id in struck else "strike"
        await lease_lost(
            plane,
            connection,
            run,
            "claimed anew without it",
            about_runner=about_runner,
            # A runner's first heartbeat comes at once: of this lease it never heard.
            nobodys_doing=run["started_at"] is None,
        )
    struck.add(runner_id)
    plane.meters.lease_lost(run["stage"])
    with about(job_id=run["job_id"], run_id=run_id, runner_id=runner_id):
        _logger.info("lease ended: its runner claimed anew without it")
    return True
