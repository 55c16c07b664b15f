"""Lays requirement classes to rest that nothing waits in: a claim looks at every class that its runner fits.

Users make classes by what they demand, and most are asked for once. A resting class has no runner; whoever
next needs it wakes it (``requirements.class_of``).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import msgspec

from edgeproof.contract.runners import Needs
from edgeproof.server.db.database import Connection, lock
from edgeproof.server.fleet.requirements import CLASSES_LOCK, match_class
from edgeproof.server.plane.control_plane import ControlPlane

_logger = logging.getLogger(__name__)
_BATCH: Final = 1000

_NOTHING_THERE: Final = "NOT EXISTS (SELECT FROM run_queue q WHERE q.class_id = c.class_id)"
# No text but our own goes into these: S608 means statements made of what somebody sent.
_IDLE: Final = f"""
SELECT array_agg(class_id) FROM (
    SELECT class_id FROM requirement_classes c WHERE NOT resting AND {_NOTHING_THERE} LIMIT $1
) idle
"""  # noqa: S608 - names of ours
# One that a transaction under way has found is left alone.
_LOCK_IDLE: Final = """
SELECT class_id FROM requirement_classes WHERE class_id = ANY($1::int[]) AND NOT resting
FOR UPDATE SKIP LOCKED
"""
# A statement of its own, so that it sees the runs of those that committed before the lock.
_REST: Final = f"""
WITH rested AS (
    UPDATE requirement_classes c SET resting = true
    WHERE class_id = ANY($1::int[]) AND {_NOTHING_THERE} RETURNING class_id
), forgotten AS (
    DELETE FROM runner_classes WHERE class_id IN (SELECT class_id FROM rested)
)
SELECT count(*) FROM rested
"""  # noqa: S608 - names of ours
_RESTING_WITH_RUNS: Final = f"""
SELECT class_id, needs FROM requirement_classes c WHERE resting AND NOT ({_NOTHING_THERE})
"""  # noqa: S608 - names of ours
_WAKE: Final = "UPDATE requirement_classes SET resting = false WHERE class_id = $1"


async def rest_classes(plane: ControlPlane) -> int:
    """How many were laid to rest."""
    rested = 0
    await _wake_needed(plane)
    while idle := await plane.database.pool.fetchval(_IDLE, _BATCH):
        count = await rest_those_idle(plane, idle)
        rested += count
        if count < _BATCH or plane.stopping.is_set():
            break
    return rested


async def rest_those_idle(plane: ControlPlane, found: Sequence[int]) -> int:
    """Of classes that were ``found`` idle a moment ago, those that still are; how many."""
    async with plane.database.transaction() as connection:
        await lock(connection, CLASSES_LOCK)
        free = [row["class_id"] for row in await connection.fetch(_LOCK_IDLE, found)]
        count: int = await connection.fetchval(_REST, free)
    return count


async def _wake_needed(plane: ControlPlane) -> None:
    """A control plane of an earlier release, beside this one, does not know that classes rest."""
    async with plane.database.transaction() as connection:
        needed = await _resting_with_runs(connection)
        if not needed:
            return
        await lock(connection, CLASSES_LOCK)
        for class_id, needs in await _resting_with_runs(connection):
            _logger.warning("class %s rested while runs waited in it", class_id)
            await connection.execute(_WAKE, class_id)
            await match_class(connection, class_id, needs)


async def _resting_with_runs(connection: Connection) -> list[tuple[int, Needs]]:
    rows = await connection.fetch(_RESTING_WITH_RUNS)
    return [(row["class_id"], msgspec.convert(row["needs"], Needs)) for row in rows]
