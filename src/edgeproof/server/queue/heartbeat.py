"""A runner says that it is alive: leases last longer, progress is told, wishes to cancel come back.

One statement for one run or many, of one runner or many. Most heartbeats write nothing but the lease, and
not even that while most of it is left (see ``queue_sql.HEARTBEAT``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import (
    BeatenRun,
    HeartbeatAnswers,
    HeartbeatBatch,
    HeartbeatRequest,
    HeartbeatResponse,
)
from edgeproof.domain.runs import Lease, parse_lease
from edgeproof.server.db.rows import Row
from edgeproof.server.db.times import utc_text
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.events import append_event
from edgeproof.server.plane.gathering import one_of_each
from edgeproof.server.plane.principals import require
from edgeproof.server.runs import queue_sql


class Beat(NamedTuple):
    """One run's heartbeat; ``runner_id`` is whose it is."""

    runner_id: str | None
    run_id: str
    lease: Lease
    request: HeartbeatRequest


async def heartbeat(
    plane: ControlPlane, principal: Principal, run_id: str, lease: Lease, request: HeartbeatRequest
) -> HeartbeatResponse:
    """Extend the lease. Raises ``Refused`` (``forbidden``; ``stale_lease`` also when it has expired)."""
    require(principal, "runner")
    one = Beat(principal.runner_id, run_id, lease, request)
    answer: HeartbeatResponse = await plane.beats.ask(one, partial(_beat, plane))
    return answer


async def heartbeats(plane: ControlPlane, principal: Principal, batch: HeartbeatBatch) -> HeartbeatAnswers:
    """Extend many leases, each by its own fence. Raises ``Refused`` (``forbidden``)."""
    require(principal, "runner")
    answers: list[HeartbeatResponse | Refused] = []
    beats: list[Beat] = []
    at: list[int] = []
    for place, item in enumerate(batch.items):
        answers.append(Refused("stale_lease", f"run {item.run_id}"))
        try:
            beats.append(Beat(principal.runner_id, item.run_id, parse_lease(item.lease), item))
            at.append(place)
        except Refused as error:
            answers[place] = error
    for place, answer in zip(at, await _beat(plane, beats), strict=True):
        answers[place] = answer
    return HeartbeatAnswers(
        items=tuple(
            BeatenRun(run_id=item.run_id, problem=answer.problem())
            if isinstance(answer, Refused)
            else BeatenRun(run_id=item.run_id, answer=answer)
            for item, answer in zip(batch.items, answers, strict=True)
        )
    )


async def _beat(plane: ControlPlane, beats: Sequence[Beat]) -> list[HeartbeatResponse | Refused]:
    answers: dict[int, HeartbeatResponse | Refused] = {}
    for now in one_of_each(beats, lambda beat: beat.run_id):
        answers |= zip(now, await _beat_distinct(plane, list(now.values())), strict=True)
    return [answers[place] for place in range(len(beats))]


async def _beat_distinct(plane: ControlPlane, beats: Sequence[Beat]) -> list[HeartbeatResponse | Refused]:
    arguments = (
        [beat.runner_id for beat in beats],
        [beat.run_id for beat in beats],
        [beat.lease.attempt for beat in beats],
        [beat.lease.digest for beat in beats],
        plane.settings.lease_seconds,
        plane.settings.stage_lease_seconds,
        [beat.request.progress for beat in beats],
        [beat.request.status for beat in beats],
    )
    if any(beat.request.progress is not None for beat in beats):
        # Progress is an event too: both or neither.
        async with plane.database.transaction() as connection:
            rows = await connection.fetch(queue_sql.HEARTBEAT, *arguments)
            for row in sorted(rows, key=lambda row: str(row["job_id"])):
                if row["moved"]:
                    told = _progress(row, beats[row["number"] - 1].request)
                    await append_event(connection, row["job_id"], "progress", told)
    else:
        rows = await plane.database.pool.fetch(queue_sql.HEARTBEAT, *arguments)
    by_number = {row["number"]: row for row in rows}
    answers: list[HeartbeatResponse | Refused] = []
    for number, beat in enumerate(beats, start=1):
        found: Row | None = by_number.get(number)
        answers.append(
            Refused("stale_lease", f"run {beat.run_id}, attempt {beat.lease.attempt}")
            if found is None
            else HeartbeatResponse(
                cancel_requested=found["cancel_requested"],
                lease_expires_at=utc_text(found["lease_expires_at"]),
            )
        )
    return answers


def _progress(row: Row, request: HeartbeatRequest) -> dict[str, object]:
    progress: dict[str, object] = msgspec.to_builtins(request.progress)
    return {"run_id": row["run_id"], "stage": row["stage"], "role": row["role"], **progress}
