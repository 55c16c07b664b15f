"""A runner asks for work: the oldest runs that it can do, under new leases, with their signed job specs.

What a runner can do was matched to classes when its capabilities changed; nothing is matched here. A wake-up
only shortens the wait: the queue is asked again after a bound anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

from edgeproof.contract.errors import Refused
from edgeproof.contract.log_ids import about
from edgeproof.contract.runners import Capabilities, ClaimedRun, ClaimRequest, RunnerStanding
from edgeproof.domain.runs import new_lease
from edgeproof.server.db.database import AWAY, Connection, lock
from edgeproof.server.db.rows import Row
from edgeproof.server.db.turns import Turn, turn_key
from edgeproof.server.fleet.requirements import match_runner_classes
from edgeproof.server.fleet.standing import quarantine_unfit
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import require
from edgeproof.server.plane.waiting import called
from edgeproof.server.queue.offer import offer_runs
from edgeproof.server.queue.one_by_one import end_each
from edgeproof.server.runs import queue_sql
from edgeproof.server.runs.run_endings import AboutRunner, lease_lost

_logger = logging.getLogger(__name__)

_POLL_SECONDS: Final = 30.0
"""At most; each waiter looks after a random share of it, so that a fleet does not look all at once. It is for
calls that were lost with a replica; as long as a claim may wait, since the next claim looks anyway."""

_UNNUMBERED: Final = -1

# The row is written only when it says something new: a claim a second is no news.
_ARRIVE: Final = """
WITH seen AS (
    UPDATE runners SET last_seen_at = clock_timestamp()
    WHERE runner_id = $1 AND last_seen_at < clock_timestamp() - interval '10 s'
)
SELECT standing, standing_reason, CASE WHEN $2 THEN capabilities END AS capabilities,
    EXISTS (SELECT FROM run_queue q WHERE q.state = 'CLAIMED' AND q.runner_id = $1 AND q.runner_key = $5
        AND q.run_id <> ALL($3::text[])) AS abandoned,
    EXISTS (SELECT FROM run_queue q WHERE q.state = 'CLAIMED' AND q.runner_id = $1 AND q.runner_key = $5
        AND q.claim_number >= $4::bigint) AS late
FROM runners WHERE runner_id = $1
"""
# What the claim's statement asks of a runner and its classes before it looks at their runs.
_CLASSES: Final = """
SELECT class_id FROM runners
JOIN runner_classes USING (runner_id) JOIN requirement_classes c USING (class_id)
WHERE runner_id = $1 AND standing = 'active' AND EXISTS (SELECT FROM good_keys WHERE public_key = $2)
  AND NOT (c.stage = 'runtime' AND (SELECT EXISTS (
      SELECT FROM run_queue q JOIN requirement_classes m USING (class_id)
      WHERE q.state = 'CLAIMED' AND q.runner_id = $1 AND m.stage = 'runtime')))
  AND NOT EXISTS (SELECT FROM run_queue
      WHERE state = 'CLAIMED' AND runner_id = $1 AND runner_key = $2 AND claim_number > $3::bigint)
"""
_SET_CAPABILITIES: Final = "UPDATE runners SET capabilities = $2 WHERE runner_id = $1"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim came to: ``runs``, none when none came in time, and the standing of who asked."""

    runs: tuple[ClaimedRun, ...]
    standing: RunnerStanding
    reason: str


async def claim(plane: ControlPlane, principal: Principal, request: ClaimRequest) -> ClaimedRun | None:
    """One lease, or None. Raises as ``claim_runs``."""
    runs = (await claim_runs(plane, principal, request)).runs
    return runs[0] if runs else None


async def claim_runs(plane: ControlPlane, principal: Principal, request: ClaimRequest) -> Claim:
    """Leases on up to ``request.max_runs`` runs; none when none came within ``request.wait_seconds``, when
    the runner is not to work now, or when the server stops.

    Raises ``Refused`` (``forbidden``; ``unauthenticated`` for a runner that is not registered).
    """
    require(principal, "runner")
    me = await _arrive(plane, principal, request)
    count = request.max_runs or 1
    clock = asyncio.get_running_loop()
    deadline = clock.time() + request.wait_seconds
    runs: tuple[ClaimedRun, ...] = ()
    if me["late"]:
        async with plane.database.wait_for_runs(frozenset()) as turn:
            await called(plane, turn, request.wait_seconds)
        return Claim((), me["standing"], me["standing_reason"])
    if me["standing"] == "active":
        runs = (await _claim_now(plane, principal, count, request.number))[0]
    if not runs and request.wait_seconds > 0:
        async with plane.database.wait_for_runs(frozenset({turn_key(0, _runner(principal))})) as turn:
            with plane.meters.waiting.track_inprogress(), _waits(plane, principal, request.number):
                runs = await _wait(plane, principal, turn, deadline, count, request.number)
    for run in runs:
        plane.meters.claims.labels(run.stage).inc()
        with about(job_id=run.job_id, run_id=run.run_id, runner_id=principal.runner_id):
            _logger.info("lease granted, attempt %s, stage %s", run.attempt, run.stage)
    standing: RunnerStanding = "active" if runs else me["standing"]
    return Claim(runs, standing, me["standing_reason"])


async def _wait(
    plane: ControlPlane, principal: Principal, turn: Turn, deadline: float, count: int, number: int | None
) -> tuple[ClaimedRun, ...]:
    clock = asyncio.get_running_loop()
    plane.database.change_keys(turn, await _keys(plane, principal, number))
    while not plane.stopping.is_set():
        plane.database.look(turn)
        if _is_superseded(plane, principal, number):
            keys = frozenset[str]()
        else:
            runs, taken = await _claim_now(plane, principal, count, number)
            if runs:
                turn.use(taken)
                return runs
            keys = await _keys(plane, principal, number)
        if plane.database.change_keys(turn, keys):
            continue
        left = deadline - clock.time()
        if left <= 0:
            break
        await called(plane, turn, min(left, _POLL_SECONDS * random.uniform(0.5, 1.0)))
    return ()


@contextlib.contextmanager
def _waits(plane: ControlPlane, principal: Principal, number: int | None) -> Iterator[None]:
    """The claim is among those that its key's process waits with."""
    waiting = plane.waiting_claims.setdefault(_key(principal), [])
    waiting.append(_UNNUMBERED if number is None else number)
    try:
        yield
    finally:
        waiting.remove(_UNNUMBERED if number is None else number)
        if not waiting:
            plane.waiting_claims.pop(_key(principal), None)


def _is_superseded(plane: ControlPlane, principal: Principal, number: int | None) -> bool:
    """Whether a later claim of the same process waits here too: nobody hears the answer to this one any more,
    and a run that it were given would wait for nothing."""
    return number is not None and max(plane.waiting_claims[_key(principal)]) > number


async def _keys(plane: ControlPlane, principal: Principal, number: int | None) -> frozenset[str]:
    """What the runner is to be called by: its own key, which a release and the end of its measurement call,
    and the classes of which it may have runs now. A call for others would be lost on it."""
    runner_id = _runner(principal)
    rows = await plane.database.pool.fetch(_CLASSES, runner_id, principal.public_key, number)
    return frozenset({turn_key(0, runner_id), *(turn_key(row["class_id"], None) for row in rows)})


async def _arrive(plane: ControlPlane, principal: Principal, request: ClaimRequest) -> Row:
    told = request.capabilities
    runner_id, number = _runner(principal), request.number
    arguments = (runner_id, told is not None, list(request.holding or ()), number, principal.public_key)
    me = await plane.database.pool.fetchrow(_ARRIVE, *arguments)
    if me is None:
        raise Refused("unauthenticated", "this runner is not registered")
    if me["late"]:
        return me
    changed = False
    if told is not None and msgspec.convert(me["capabilities"], Capabilities) != told:
        changed = True
        async with plane.database.transaction() as connection:
            await connection.execute(_SET_CAPABILITIES, runner_id, told)
            await match_runner_classes(connection, runner_id, told)
    if request.unfit is not None:
        changed = True
        await quarantine_unfit(plane, runner_id, request.unfit)
    if request.holding is not None and me["abandoned"]:
        changed = True
        await _end_abandoned(plane, principal, request.holding, number)
    if changed:
        (me,) = await plane.database.pool.fetch(_ARRIVE, *arguments)
    return me


async def _end_abandoned(
    plane: ControlPlane, principal: Principal, holding: Sequence[str], number: int | None
) -> None:
    """The leases of this key that its process no longer works under: all lost at once, by one answer or one
    process, so one strike."""
    runner_id = _runner(principal)
    abandoned = await plane.database.pool.fetch(
        queue_sql.ABANDONED, runner_id, list(holding), number, principal.public_key
    )
    attempts = {row["run_id"]: row["attempt"] for row in abandoned}
    await end_each(attempts, partial(_end_one_abandoned, plane, runner_id, attempts, set()))


async def _end_one_abandoned(
    plane: ControlPlane, runner_id: str, attempts: Mapping[str, int], struck: set[str], run_id: str
) -> bool:
    """``struck`` holds the runner once it was struck for one of them."""
    async with plane.database.transaction() as connection:
        run = await connection.fetchrow(queue_sql.LOCK_ABANDONED, run_id, runner_id, attempts[run_id])
        if run is None:
            return False
        about_runner: AboutRunner = "nothing" if runner_id in struck else "strike"
        await lease_lost(plane, connection, run, "claimed anew without it", about_runner=about_runner)
    struck.add(runner_id)
    with about(job_id=run["job_id"], run_id=run_id, runner_id=runner_id):
        _logger.info("lease ended: its runner claimed anew without it")
    return True


class _MeasuresAlready(Exception):
    """The runner was leased another measurement at the same time: this lease is rolled back."""


async def _claim_now(
    plane: ControlPlane, principal: Principal, count: int, number: int | None
) -> tuple[tuple[ClaimedRun, ...], frozenset[str]]:
    """Up to ``count`` runs, class by class, and the turn keys of what was taken; none: nothing that this
    runner may have waits."""
    runs: list[ClaimedRun] = []
    keys: set[str] = set()
    passed_over: list[int] = []
    while len(runs) < count:
        wanted = count - len(runs)
        leases = [new_lease(0) for _ in range(wanted)]
        try:
            async with plane.database.transaction() as connection:
                rows = await connection.fetch(
                    queue_sql.claim_statement(wanted),
                    principal.runner_id,
                    plane.settings.lease_seconds,
                    plane.settings.stage_lease_seconds,
                    [lease.digest for lease in leases],
                    passed_over,
                    principal.public_key,
                    number,
                )
                if not rows:
                    break
                taken = [row for row in rows if row["run_id"] is not None]
                if any(row["stage"] == "runtime" for row in taken):
                    await _measure_once(connection, principal)
                offered = await offer_runs(plane, connection, principal, taken, leases)
        except _MeasuresAlready:
            # The other lease is committed: the next statement sees it, and passes measurements over.
            continue
        except (*AWAY, OSError):
            if not runs:
                raise
            _logger.exception("a batch ends with what was leased before the database failed")
            break
        runs += offered
        class_id, named = rows[0]["class_id"], rows[0]["named"]
        keys.add(turn_key(class_id, principal.runner_id if named else None))
        if not taken:
            passed_over.append(-class_id if named else class_id)
    return tuple(runs), frozenset(keys)


async def _measure_once(connection: Connection, principal: Principal) -> None:
    await lock(connection, f"measuring:{principal.runner_id}")
    if await connection.fetchval(queue_sql.MEASURING, principal.runner_id) > 1:
        raise _MeasuresAlready


def _runner(principal: Principal) -> str:
    if principal.runner_id is None:
        raise ValueError("a runner principal has a runner id")
    return principal.runner_id


def _key(principal: Principal) -> str:
    if principal.public_key is None:
        raise ValueError("a runner principal has a key")
    return principal.public_key
