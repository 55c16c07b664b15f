"""What is thrown away, and when: uploads that no job named, bytes that no row names, old events and keys.
Requirement classes that nobody asks for are laid to rest.

Evidence is never among it: what a job names (``job_artifacts``) has no expiry, and bytes go only after a look
at their row under the lock that every upload takes. Each chore is done by one replica at a time, whichever
comes first when its time has come; a chore that was cut short is done again at its next time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from edgeproof.server.artifacts.artifacts import expire_artifacts, forget_orphan
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.server.upkeep.resting_classes import rest_classes

_logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 60.0
_BATCH: Final = 1000

# The row is the turn: whoever moves its time does the chore.
_TAKE_TURN: Final = """
INSERT INTO chores (name, began_at) VALUES ($1, clock_timestamp())
ON CONFLICT (name) DO UPDATE SET began_at = excluded.began_at
    WHERE chores.began_at < clock_timestamp() - make_interval(secs => $2)
RETURNING name
"""
_UNKNOWN: Final = """
SELECT digest FROM unnest($1::text[]) AS kept (digest)
WHERE NOT EXISTS (SELECT FROM artifacts WHERE artifacts.digest = kept.digest)
"""
# A job's status events tell its whole story in short; they stay as long as the job.
_OLD_EVENTS: Final = """
DELETE FROM job_events WHERE ctid = ANY(ARRAY(
    SELECT e.ctid FROM job_events e JOIN jobs USING (job_id)
    WHERE e.at < clock_timestamp() - make_interval(secs => $1) AND e.type <> 'status'
        AND jobs.status IN ('completed', 'failed', 'cancelled')
    LIMIT $2
))
"""
_OLD_KEYS: Final = """
DELETE FROM idempotency WHERE created_at < clock_timestamp() - make_interval(secs => $1)
"""
_OLD_RESULT_KEYS: Final = """
DELETE FROM result_keys WHERE created_at < clock_timestamp() - make_interval(secs => $1)
"""
_SPENT_NONCES: Final = "DELETE FROM spent_nonces WHERE expires_at < clock_timestamp() - interval '60 s'"


class Chore(NamedTuple):
    """``seconds`` lie between its beginnings, whoever does it."""

    name: str
    seconds: float
    do: Callable[[ControlPlane], Awaitable[int]]


async def forget_orphans(plane: ControlPlane) -> int:
    """Remove bytes that no artifact's row names: a crash between keeping and committing leaves such."""
    gone = 0
    batch: list[str] = []
    async for digest in plane.artifacts.kept():
        batch.append(digest)
        if len(batch) == _BATCH:
            gone += await _forget_unknown(plane, batch)
            batch.clear()
    return gone + await _forget_unknown(plane, batch)


async def _forget_unknown(plane: ControlPlane, digests: list[str]) -> int:
    unknown = await plane.database.pool.fetch(_UNKNOWN, digests)
    gone = 0
    for row in unknown:
        try:
            gone += await forget_orphan(plane, row["digest"])
        except Exception as error:
            # One that cannot be removed keeps none of the others.
            _logger.warning("could not remove the bytes of sha256:%s: %r", row["digest"], error)
    return gone


async def forget_events(plane: ControlPlane) -> int:
    """Remove what ended jobs told on their way, but for their changes of status, once it is old."""
    forgotten = 0
    while True:
        done: str = await plane.database.pool.execute(_OLD_EVENTS, plane.settings.events_kept_seconds, _BATCH)
        count = int(done.split()[-1])
        forgotten += count
        if count < _BATCH or plane.stopping.is_set():
            return forgotten


async def forget_keys(plane: ControlPlane) -> int:
    """Remove idempotency keys that nobody repeats any more, and nonces that have expired."""
    pool, age = plane.database.pool, plane.settings.idempotency_kept_seconds
    done: list[str] = [await pool.execute(sql, age) for sql in (_OLD_KEYS, _OLD_RESULT_KEYS)]
    done.append(await pool.execute(_SPENT_NONCES))
    return sum(int(one.split()[-1]) for one in done)


CHORES: Final = (
    Chore("expire uploads", 600, expire_artifacts),
    Chore("forget keys", 3600, forget_keys),
    Chore("forget events", 3600, forget_events),
    Chore("forget orphans", 6 * 3600, forget_orphans),
    Chore("rest classes", 3600, rest_classes),
)


async def do_chores(plane: ControlPlane) -> None:
    """Those whose time has come and that no other replica has begun. What goes wrong with one is logged."""
    for chore in CHORES:
        try:
            if await plane.database.pool.fetchval(_TAKE_TURN, chore.name, chore.seconds) is None:
                continue
            if count := await chore.do(plane):
                _logger.info("%s: %s", chore.name, count)
        except Exception:
            _logger.exception("could not %s; it will be tried again", chore.name)


async def run_housekeeping(plane: ControlPlane) -> None:
    """Until the server stops. It may be cancelled at any moment."""
    while not plane.stopping.is_set():
        await do_chores(plane)
        try:
            await asyncio.wait_for(plane.stopping.wait(), _LOOK_SECONDS)
        except TimeoutError:
            continue
