"""From a run's beginning to wait until a runner has it: with a few runners that wait, and with a thousand."""

from __future__ import annotations

import asyncio
import resource
import secrets
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from edgeproof.bench.queue.ground import Ground, SimulatedRunner, quantile
from edgeproof.bench.queue.wire import Wire, demand
from edgeproof.contract.base import Wire as Message
from edgeproof.contract.runners import ClaimedRun
from edgeproof.server.runs.run_endings import wake_a_runner

_CLAIM: Final = msgspec.json.encode({"wait_seconds": 30})
_ONE: Final = msgspec.json.Decoder(ClaimedRun)
_SETTLE_SECONDS: Final = 3.0
_ADD: Final = """
WITH model AS (SELECT * FROM runs WHERE stage = 'forge' ORDER BY created_at LIMIT 1), run AS (
    INSERT INTO runs (run_id, job_id, stage, role, class_id, config, limits)
    SELECT $1, job_id, stage, role, class_id, config, limits FROM model
)
INSERT INTO run_queue (run_id, class_id) SELECT $1, class_id FROM model RETURNING class_id
"""


class Pickup(Message, frozen=True, kw_only=True):
    """Milliseconds from before the commit that makes a run wait until a runner has its lease."""

    runners: int
    per_second: float
    runs: int
    p50_ms: float
    p95_ms: float


async def pickups(
    ground: Ground,
    crowds: Sequence[Sequence[SimulatedRunner]],
    per_second: float,
    seconds: float,
    turns: int,
) -> list[Pickup]:
    """What each of ``crowds`` comes to in ``seconds`` altogether; they take ``turns``, so that what the
    machine's neighbours do meets all of them."""
    took: list[list[float]] = [[] for _ in crowds]
    for _ in range(turns):
        for runners, its in zip(crowds, took, strict=True):
            its += await _pick_up(ground, runners, per_second, seconds / turns)
    return [
        Pickup(
            runners=len(runners),
            per_second=per_second,
            runs=len(its),
            p50_ms=round(quantile(its, 0.5) * 1e3, 2),
            p95_ms=round(quantile(its, 0.95) * 1e3, 2),
        )
        for runners, its in zip(crowds, took, strict=True)
    ]


async def _pick_up(
    ground: Ground, runners: Sequence[SimulatedRunner], per_second: float, seconds: float
) -> list[float]:
    """Seconds of each pick-up. All of ``runners`` wait with long polls; a run begins to wait ``per_second``
    times."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    begun: dict[str, float] = {}
    took: list[float] = []

    async def wait(runner: SimulatedRunner) -> None:
        async with Wire(ground.host, ground.port, runner.token) as wire:
            while True:
                status, body = await wire.post("/api/queue/claim", _CLAIM)
                if status == 200:
                    run = _ONE.decode(demand(status, body))
                    if run.run_id in begun:
                        took.append(time.perf_counter() - begun[run.run_id])

    waiting = [asyncio.create_task(wait(runner)) for runner in runners]
    try:
        await asyncio.sleep(_SETTLE_SECONDS)
        started = time.perf_counter()
        count = round(per_second * seconds)
        for number in range(count):
            await asyncio.sleep(max(0.0, started + number / per_second - time.perf_counter()))
            run_id = f"run_{secrets.token_hex(10)}"
            begun[run_id] = time.perf_counter()
            async with ground.plane.database.transaction() as connection:
                class_id = await connection.fetchval(_ADD, run_id)
                await wake_a_runner(connection, class_id, None)
        async with asyncio.timeout(60):
            while len(took) < count:
                _raise_ended(waiting)
                await asyncio.sleep(0.05)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return took


def _raise_ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done():
            task.result()
