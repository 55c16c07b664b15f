"""Leases for those who ask now: claims that come while others are served go together, in one transaction.

Each is answered by itself. What goes wrong with many of them is tried again with each alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

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


@dataclass(frozen=True, slots=True)
class _Wish:
    """Up to ``count`` runs of one class, none of those ``passed_over`` (negative: their runs that name the
    runner)."""

    caller: Caller
    count: int = 1
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Grant:
    """What came of a class, in which there was something. ``leased`` without ``runs``: unwanted ones."""

    runs: list[ClaimedRun]
    class_id: int
    named: bool
    leased: bool


class _MeasuresAlready(Exception):
    """A runner was leased another measurement at the same time: these leases are rolled back."""


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
    if wish.count > 1:
        return await _grant_alone(plane, wish)
    found: _Grant | None = await plane.grants.ask(wish, partial(_grant_each, plane))
    return found


async def _grant_each(plane: ControlPlane, wishes: Sequence[_Wish]) -> list[_Grant | Exception | None]:
    """For wishes for one run. No two leases of one runner may be for measurements, and wishes that are served
    together do not see each other's."""
    answers: dict[int, _Grant | Exception | None] = {}
    for now in one_of_each(wishes, lambda wish: wish.caller.runner_id):
        answers |= zip(now, await _grant_distinct(plane, list(now.values())), strict=True)
    return [answers[place] for place in range(len(wishes))]


async def _grant_distinct(plane: ControlPlane, wishes: Sequence[_Wish]) -> list[_Grant | Exception | None]:
    """All together; if that does not go, each alone. Raises nothing: what others were given is theirs."""
    if len(wishes) > 1:
        try:
            return [*await _grant(plane, wishes)]
        except _MeasuresAlready:
            pass
        except (*AWAY, OSError) as error:
            return [error] * len(wishes)
        except Exception:
            _logger.exception("%s claims could not be served together", len(wishes))
    answers: list[_Grant | Exception | None] = []
    for wish in wishes:
        try:
            answers.append(await _grant_alone(plane, wish))
        except Exception as error:
            answers.append(error)
    return answers


async def _grant_alone(plane: ControlPlane, wish: _Wish) -> _Grant | None:
    while True:
        try:
            return (await _grant(plane, [wish]))[0]
        except _MeasuresAlready:
            # The other lease is committed: the next statement sees it, and passes measurements over.
            continue


async def _grant(plane: ControlPlane, wishes: Sequence[_Wish]) -> list[_Grant | None]:
    """``wishes`` are for as many runs each, and of as many runners."""
    callers, count = [wish.caller for wish in wishes], wishes[0].count
    leases = [new_lease(0) for _ in range(len(wishes) * count)]
    async with plane.database.transaction() as connection:
        rows = await connection.fetch(
            queue_sql.CLAIM,
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
        offered = await offer_runs(plane, connection, taken, tokens)
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
            raise _MeasuresAlready
