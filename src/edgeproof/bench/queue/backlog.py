"""How fast claims are when much else waits: 99 % of the backlog is for runners of another kind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from edgeproof.bench.queue.ground import Ground, SimulatedRunner
from edgeproof.bench.queue.wire import Wire, demand
from edgeproof.contract.base import Wire as Message
from edgeproof.contract.runners import Needs
from edgeproof.server.fleet.requirements import class_of

_ADD: Final = """
WITH model AS (SELECT * FROM runs WHERE stage = 'forge' ORDER BY created_at LIMIT 1), run AS (
    INSERT INTO runs (run_id, job_id, stage, role, class_id, config, limits)
    SELECT $1 || n, job_id, stage, role, coalesce($3, class_id), config, limits
    FROM model, generate_series(1, $2::integer) n
)
INSERT INTO run_queue (run_id, class_id)
SELECT $1 || n, coalesce($3, class_id) FROM model, generate_series(1, $2::integer) n
"""
_CHUNK: Final = 50_000


class Backlog(Message, frozen=True, kw_only=True):
    """``waiting`` runs when it began, ``claimable`` of them by these runners."""

    waiting: int
    claimable: int
    claims_per_second: float


async def backlog(
    ground: Ground, runners: Sequence[SimulatedRunner], waiting: int, claims: int, prefix: str
) -> Backlog:
    """Claims alone, until ``claims`` runs were claimed, behind a backlog filled up to ``waiting``."""
    pool = ground.plane.database.pool
    async with ground.plane.database.transaction() as connection:
        needs = Needs(stage="forge", backend="another", target="cpu", precisions=())
        others = await class_of(connection, needs)
    there = await pool.fetchval(
        "SELECT count(*) FROM run_queue WHERE state = 'PENDING' AND class_id = $1", others
    )
    missing = max(0, round(waiting * 0.99) - there)
    for number in range(0, missing, _CHUNK):
        await pool.execute(_ADD, f"{prefix}o{number}_", min(_CHUNK, missing - number), others, timeout=600)
    mine = max(round(waiting * 0.01), claims)
    await pool.execute(_ADD, f"{prefix}m", mine, None, timeout=600)
    for table in ("run_queue", "runs"):
        await pool.execute(f"VACUUM ANALYZE {table}", timeout=600)
    left = claims

    async def claim(runner: SimulatedRunner) -> None:
        nonlocal left
        async with Wire(ground.host, ground.port, runner.token) as wire:
            while left > 0:
                left -= 1
                demand(*await wire.post("/api/queue/claim", b"{}"))

    started = time.perf_counter()
    await asyncio.gather(*(claim(runner) for runner in runners))
    return Backlog(
        waiting=round(waiting * 0.99) + mine,
        claimable=mine,
        claims_per_second=round(claims / (time.perf_counter() - started), 1),
    )
