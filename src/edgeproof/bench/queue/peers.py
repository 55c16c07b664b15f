"""Two other queues on the same server, as plain in-process claim → finish: no HTTP, no signatures."""

from __future__ import annotations

import importlib
import importlib.util
import time
from datetime import timedelta
from importlib.metadata import version
from typing import Any, Final

import asyncpg

from edgeproof.bench.queue.ground import new_database
from edgeproof.contract.base import Wire as Message

PEERS: Final = ("procrastinate", "pgqueuer")
_CHUNK: Final = 1000


class Peer(Message, frozen=True, kw_only=True):
    """Jobs that do nothing, put in beforehand."""

    name: str
    version: str
    jobs: int
    per_second: float


async def peers(cluster: str, jobs: int) -> tuple[Peer, ...]:
    """Those that are installed (extra ``bench``)."""
    measured = []
    for name, measure in zip(PEERS, (_procrastinate, _pgqueuer), strict=True):
        if importlib.util.find_spec(name) is not None:
            async with new_database(cluster) as dsn:
                measured.append(await measure(dsn, jobs))
    return tuple(measured)


async def _procrastinate(dsn: str, jobs: int) -> Peer:
    # By name: who works on Edgeproof need not have the extra `bench` for the type checker to pass.
    library: Any = importlib.import_module("procrastinate")
    app = library.App(connector=library.PsycopgConnector(conninfo=dsn))
    done = 0

    async def nothing() -> None:
        nonlocal done
        done += 1

    task = app.task(name="nothing")(nothing)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await task.batch_defer_async(*({} for _ in range(jobs)))
        started = time.perf_counter()
        await app.run_worker_async(
            wait=False, concurrency=16, listen_notify=False, install_signal_handlers=False
        )
        took = time.perf_counter() - started
    return _peer("procrastinate", done, jobs, took)


async def _pgqueuer(dsn: str, jobs: int) -> Peer:
    library: Any = importlib.import_module("pgqueuer")
    types: Any = importlib.import_module("pgqueuer.types")
    pool = await asyncpg.create_pool(dsn, min_size=2, max_size=8)
    done = 0

    async def nothing(_job: object) -> None:
        nonlocal done
        done += 1

    try:
        queries = library.Queries.from_asyncpg_pool(pool)
        await queries.install()
        queue = library.PgQueuer.from_asyncpg_pool(pool)
        queue.entrypoint("nothing")(nothing)
        for number in range(0, jobs, _CHUNK):
            some = min(_CHUNK, jobs - number)
            await queries.enqueue(["nothing"] * some, [None] * some, [0] * some)
        started = time.perf_counter()
        drain = types.QueueExecutionMode.drain
        await queue.run(dequeue_timeout=timedelta(seconds=1), batch_size=64, mode=drain)
        took = time.perf_counter() - started
    finally:
        await pool.close()
    return _peer("pgqueuer", done, jobs, took)


def _peer(name: str, done: int, jobs: int, took: float) -> Peer:
    if done != jobs:
        raise OSError(f"{name} did {done} of {jobs} jobs")
    return Peer(name=name, version=version(name), jobs=jobs, per_second=round(jobs / took, 1))
