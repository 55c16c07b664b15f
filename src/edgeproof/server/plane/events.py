"""A job's events: written under the job's row lock, so that their numbers have no gap; read as a stream.

A lock on the job's row is taken here; see ``queue_sql`` for the order of locks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import EventType, JobEvent
from edgeproof.domain.jobs import TERMINAL
from edgeproof.server.db.database import Connection
from edgeproof.server.db.notifier import notify
from edgeproof.server.db.times import utc_text
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.waiting import woken

EVENTS_CHANNEL: Final = "edgeproof_job_events"
_POLL_SECONDS: Final = 5.0
_BATCH: Final = 500

_LOCK_JOB: Final = "SELECT status FROM jobs WHERE job_id = $1 FOR UPDATE"
_APPEND: Final = """
INSERT INTO job_events (job_id, seq, type, data)
SELECT $1, coalesce(max(seq), 0) + 1, $2, $3 FROM job_events WHERE job_id = $1
"""
_AFTER: Final = """
SELECT seq, type, at, data FROM job_events WHERE job_id = $1 AND seq > $2 ORDER BY seq LIMIT $3
"""
_STATUS: Final = "SELECT status FROM jobs WHERE job_id = $1"
_VISIBLE: Final = "SELECT 1 FROM jobs WHERE job_id = $1 AND (owner_id = $2 OR $3)"


async def append_event(connection: Connection, job_id: str, type_: EventType, data: dict[str, Any]) -> None:
    """Add an event; it is seen, and its waiters are woken, when the transaction commits.

    An ended job gets none: its last event is the one that told its end.
    """
    if await connection.fetchval(_LOCK_JOB, job_id) in TERMINAL:
        return
    # A statement of its own: its snapshot must be younger than the lock.
    await connection.execute(_APPEND, job_id, type_, data)
    await wake_readers(connection, job_id)


@dataclass(slots=True)
class EventRows:
    """Events of jobs that this transaction holds locked, to be added by one statement: ``columns`` are job,
    place behind the job's last event, type and data."""

    _rows: list[tuple[str, int, EventType, dict[str, Any]]] = field(default_factory=list)
    _places: Counter[str] = field(default_factory=Counter)

    def add(self, job_id: str, type_: EventType, data: dict[str, Any]) -> None:
        self._places[job_id] += 1
        self._rows.append((job_id, self._places[job_id], type_, data))

    def columns(self) -> tuple[list[Any], ...]:
        return tuple([row[at] for row in self._rows] for at in range(4))


async def wake_readers(connection: Connection, job_id: str) -> None:
    """Whoever reads the job's events looks again after the commit."""
    await notify(connection, EVENTS_CHANNEL, job_id)


async def demand_visible(plane: ControlPlane, principal: Principal, job_id: str) -> None:
    """Raises ``Refused`` (``not_found``) for a job that is absent or another user's."""
    admin = principal.kind == "admin"
    if await plane.database.pool.fetchval(_VISIBLE, job_id, principal.principal_id, admin) is None:
        raise Refused("not_found", "no such job")


async def job_events(
    plane: ControlPlane, principal: Principal, job_id: str, after: int = 0
) -> AsyncIterator[JobEvent]:
    """The job's events with ``seq`` above ``after``, as they come.

    Ends when the job has ended and all was told, or when the server stops. Raises ``Refused``
    (``not_found``) on the first step.
    """
    await demand_visible(plane, principal, job_id)
    async with plane.database.listen(EVENTS_CHANNEL, job_id) as wake_ups:
        while not plane.stopping.is_set():
            # Asked before the events are read: an ended job gets none any more.
            ended = await plane.database.pool.fetchval(_STATUS, job_id) in TERMINAL
            rows = await plane.database.pool.fetch(_AFTER, job_id, after, _BATCH)
            for row in rows:
                after = row["seq"]
                yield JobEvent(seq=after, type=row["type"], at=utc_text(row["at"]), data=row["data"])
            if rows:
                continue
            if ended:
                return
            await woken(plane, wake_ups, _POLL_SECONDS)
