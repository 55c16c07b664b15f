"""How fast claims are when much else waits: 99 % of the backlog is for runners of another kind.

A small and a large backlog stand side by side, each with a control plane and a database of its own, and take
turns: what the machine's neighbours do meets both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from statistics import median
from typing import Final

from edgeproof.bench.queue.ground import RUNS_OF_A_JOB, Ground, SimulatedRunner
from edgeproof.bench.queue.wire import Wire, demand
from edgeproof.contract.base import Wire as Message
from edgeproof.contract.runners import Needs
from edgeproof.server.fleet.requirements import class_of

# All of one job, which is not the one that others are copies of.
_ADD_OTHERS: Final = """
WITH model AS (SELECT * FROM runs WHERE stage = 'forge' ORDER BY created_at DESC LIMIT 1), run AS (
    INSERT INTO runs (run_id, job_id, stage, role, class_id, config, limits)
    SELECT 'others_' || n, job_id, stage, role, $3, config, limits
    FROM model, generate_series($1::integer, $2::integer) n
    RETURNING run_id
)
INSERT INTO run_queue (run_id, class_id) SELECT run_id, $3 FROM run
"""
# What was claimed leaves the table, as runs do that end: no runner holds hundreds of leases.
_END: Final = "DELETE FROM run_queue WHERE state = 'CLAIMED'"
_CHUNK: Final = 50_000
_OTHERS: Final = 0.99


class Backlog(Message, frozen=True, kw_only=True):
    """``waiting`` runs when a turn begins, ``claimable`` of them by these runners. The rate is the median of
    ``turns``."""

    waiting: int
    claimable: int
    claims_per_second: float
    turns: tuple[float, ...]


class Backlogs(Message, frozen=True, kw_only=True):
    """The turns of both follow each other in pairs."""

    small: Backlog
    large: Backlog

    def ratio(self) -> float:
        """The median over the pairs of turns of the rate behind the large backlog over that behind the
        small one."""
        pairs = zip(self.large.turns, self.small.turns, strict=True)
        return median(large / small for large, small in pairs)


class _Side:
    """One backlog and who claims before it, ``claims`` a turn."""

    def __init__(self, ground: Ground, runners: Sequence[SimulatedRunner], waiting: int, claims: int) -> None:
        self._ground = ground
        self._runners = runners
        self._claims = claims
        self._others = round(waiting * _OTHERS)
        self._mine = max(waiting - self._others, claims)
        self._copied = 0
        self.rates: list[float] = []

    async def fill(self) -> None:
        pool = self._ground.plane.database.pool
        await self._ground.queue_jobs(1)
        await pool.execute("DELETE FROM run_queue")
        async with self._ground.plane.database.transaction() as connection:
            needs = Needs(stage="forge", backend="another", target="cpu", precisions=())
            others = await class_of(connection, needs)
        await self._top_up(self._mine)
        for first in range(1, self._others + 1, _CHUNK):
            last = min(self._others, first + _CHUNK - 1)
            await pool.execute(_ADD_OTHERS, first, last, others, timeout=600)
        for table in ("run_queue", "runs", "jobs"):
            await pool.execute(f"VACUUM ANALYZE {table}", timeout=600)
        await pool.execute("CHECKPOINT", timeout=600)

    async def turn(self) -> None:
        left = self._claims

        async def claim(runner: SimulatedRunner) -> None:
            nonlocal left
            async with Wire(self._ground.host, self._ground.port, runner.token) as wire:
                while left > 0:
                    left -= 1
                    demand(*await wire.post("/api/queue/claim", b"{}"))

        started = time.perf_counter()
        await asyncio.gather(*(claim(runner) for runner in self._runners))
        self.rates.append(round(self._claims / (time.perf_counter() - started), 1))
        await self._ground.plane.database.pool.execute(_END, timeout=600)
        await self._top_up(self._claims)

    async def _top_up(self, runs: int) -> None:
        jobs = -(-runs // RUNS_OF_A_JOB)
        await self._ground.copy_jobs(self._copied + 1, self._copied + jobs)
        self._copied += jobs

    def told(self) -> Backlog:
        return Backlog(
            waiting=self._others + self._mine,
            claimable=self._mine,
            claims_per_second=median(self.rates),
            turns=tuple(self.rates),
        )


async def backlogs(
    small: tuple[Ground, Sequence[SimulatedRunner]],
    large: tuple[Ground, Sequence[SimulatedRunner]],
    waiting: tuple[int, int],
    turns: int,
    claims: int,
) -> Backlogs:
    """Claims alone, ``claims`` a turn, ``turns`` of each side; ``waiting`` are the small and the large
    backlog's runs. Raises ``OSError`` when a claim finds nothing."""
    sides = tuple(
        _Side(ground, runners, count, claims)
        for (ground, runners), count in zip((small, large), waiting, strict=True)
    )
    for side in sides:
        await side.fill()
        await side.turn()
        side.rates.clear()
    for number in range(turns):
        # Who goes first changes, so that neither side always follows the other's leftovers.
        for side in sides if number % 2 else sides[::-1]:
            await side.turn()
    return Backlogs(small=sides[0].told(), large=sides[1].told())
