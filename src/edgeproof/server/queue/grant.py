"""Leases for those who ask now: claims that come while others are served go together, in one transaction.

Each is answered by itself. Whoever cannot be served with the others, for whatever reason, goes alone: in a
transaction of its own call, which may wait for a lock and is rolled back if its peer goes away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from edgeproof.contract.runners import ClaimedRun
from edgeproof.domain.runs import new_lease
from edgeproof.server.db.database import AWAY, Connection
from edgeproof.server.db.rows import Row
from edgeproof.server.db.turns import turn_key
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.server.plane.gathering import one_of_each
from edgeproof.server.queue.arrive import Caller
from edgeproof.server.queue.offer import offer_runs
from edgeproof.server.runs import queue_sql

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Wish:
    """Up to ``count`` runs of one class, none of those ``passed_over`` (negative: their runs that name the
    runner). ``gone``: nobody waits for the answer any more."""

    caller: Caller
    count: int = 1
    passed_over: tuple[str, ...] = ()
    gone: bool = False


@dataclass(frozen=True, slots=True)
class _Grant:
    """What came of a class, in which there was something. ``leased`` without ``runs``: unwanted ones."""

    runs: list[ClaimedRun]
    class_id: int
    named: bool
    leased: bool


class _Alone:
    """The answer to a wish that is to be served alone, by its own call."""


_ALONE: Final = _Alone()


class _RolledBack(Exception):
    """These leases are not to be: a runner was leased another measurement at the same time, or somebody who
    asked went away."""


async def grant(
    plane: ControlPlane, caller: Caller, count: int
) -> tuple[tuple[ClaimedRun, ...], frozenset[str]]:
    """Up to ``count`` runs, class by class, and the turn keys of what was taken; none: nothing that this
    runner may have waits."""
    runs: list[ClaimedRun] = []
    keys: set[str] = set()
    passed_over: list[str] = []
    while len(runs) < count:
        try:
            found = await _granted(plane, _Wish(caller, count - len(runs), tuple(passed_over)))
        except (*AWAY, OSError):
            if not runs:
                raise
            _logger.exception("a batch ends with what was leased before the database failed")
            break
        if found is None:
            break
        runs += found.runs
        keys.add(turn_key(found.class_id, caller.runner_id if found.named else None))
        if not found.leased:
            passed_over.append(str(-found.class_id if found.named else found.class_id))
    return tuple(runs), frozenset(keys)


async def _granted(plane: ControlPlane, wish: _Wish) -> _Grant | None:
    """None: nothing waits."""
    if wish.count == 1:
        try:
            found: _Grant | _Alone | None = await plane.grants.ask(wish, partial(_grant_each, plane))
        except asyncio.CancelledError:
            wish.gone = True
            raise
        if not isinstance(found, _Alone):
            return found
    while True:
        try:
            return (await _grant(plane, [wish]))[0]
        except _RolledBack:
            # The other lease is committed: the next statement sees it, and passes measurements over.
            continue


async def _grant_each(plane: ControlPlane, wishes: Sequence[_Wish]) -> list[_Grant | _Alone | None]:
    """For wishes for one run. Of one runner only the first goes with the others: no two of its leases may be
    for measurements, and together they would not see each other's.

    Nobody waits here for what holds up one of them: that one goes alone, and so do all if they cannot go
    together.
    """
    first = next(one_of_each(wishes, lambda wish: wish.caller.runner_id))
    together: Sequence[_Grant | _Alone | None]
    try:
        together = await _grant_together(plane, list(first.values()))
    except _RolledBack:
        together = [_ALONE] * len(first)
    except (*AWAY, OSError) as error:
        _logger.warning("%s claims could not be served together: %r", len(first), error)
        together = [_ALONE] * len(first)
    except Exception:
        _logger.exception("%s claims could not be served together", len(first))
        together = [_ALONE] * len(first)
    answers = dict(zip(first, together, strict=True))
    return [answers.get(place, _ALONE) for place in range(len(wishes))]


async def _grant_together(plane: ControlPlane, wishes: Sequence[_Wish]) -> list[_Grant | _Alone | None]:
    async with plane.database.transaction() as connection:
        rows, offered = await _lease(plane, connection, queue_sql.CLAIM_TOGETHER, wishes)
        if any(wish.gone for wish in wishes):
            raise _RolledBack
    held_up = {row["number"] for row in rows if row["found"] and row["run_id"] is None}
    return [
        _ALONE if number in held_up else one for number, one in enumerate(_grants(wishes, rows, offered), 1)
    ]


async def _grant(plane: ControlPlane, wishes: Sequence[_Wish]) -> list[_Grant | None]:
    async with plane.database.transaction() as connection:
        rows, offered = await _lease(plane, connection, queue_sql.CLAIM, wishes)
    return _grants(wishes, rows, offered)


async def _lease(
    plane: ControlPlane, connection: Connection, statement: str, wishes: Sequence[_Wish]
) -> tuple[Sequence[Row], dict[str, ClaimedRun]]:
    """``wishes`` are for as many runs each, and of as many runners. Raises ``_RolledBack``."""
    callers, count = [wish.caller for wish in wishes], wishes[0].count
    leases = [new_lease(0) for _ in range(len(wishes) * count)]
    rows: Sequence[Row] = await connection.fetch(
        statement,
        [caller.runner_id for caller in callers],
        [caller.key for caller in callers],
        [caller.number for caller in callers],
        count,
        [dict.fromkeys(wish.passed_over, True) for wish in wishes],
        [lease.digest for lease in leases],
        plane.settings.lease_seconds,
        plane.settings.stage_lease_seconds,
    )
    taken = [row for row in rows if row["run_id"] is not None]
    await _measure_once(connection, taken)
    tokens = [leases[(row["number"] - 1) * count + row["place"] - 1].token for row in taken]
    return rows, await offer_runs(plane, connection, taken, tokens)


def _grants(
    wishes: Sequence[_Wish], rows: Sequence[Row], offered: dict[str, ClaimedRun]
) -> list[_Grant | None]:
    return [
        _grant_of([row for row in rows if row["number"] == number], offered)
        for number in range(1, len(wishes) + 1)
    ]


def _grant_of(rows: Sequence[Row], offered: dict[str, ClaimedRun]) -> _Grant | None:
    if not rows:
        return None
    leased = [row["run_id"] for row in rows if row["run_id"] is not None]
    runs = [offered[run_id] for run_id in leased if run_id in offered]
    return _Grant(runs, rows[0]["class_id"], rows[0]["named"], bool(leased))


async def _measure_once(connection: Connection, leased: Sequence[Row]) -> None:
    runners = sorted({row["runner_id"] for row in leased if row["stage"] == "runtime"})
    if runners:
        await connection.execute(queue_sql.LOCK_MEASURING, runners)
        if await connection.fetch(queue_sql.MEASURING_TWICE, runners):
            raise _RolledBack
