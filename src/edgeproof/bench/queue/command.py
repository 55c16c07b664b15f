"""``edgeproof bench queue``."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from edgeproof.cli.options import json_option
from edgeproof.cli.printing import echo_json

if TYPE_CHECKING:
    from edgeproof.bench.queue.report import QueueSpeed

_CONNECTIONS: Final = 16


@click.command()
@click.option("--quick", is_flag=True, help="About two minutes: shorter, and with a smaller backlog.")
@json_option
def queue(quick: bool, as_json: bool) -> None:
    """What the run queue does here: claims, heartbeats and signed results over HTTP, against its goals.

    It starts a control plane and a database of its own in a temporary folder. The load generator and all
    signing of both sides share the processor with them. Nothing else should run on the machine.
    """
    from edgeproof.bench.queue.report import words

    speed = asyncio.run(_measure(quick))
    if as_json:
        told: dict[str, Any] = msgspec.to_builtins(speed)
        echo_json({**told, "goals": msgspec.to_builtins(speed.goals())})
        return
    click.echo(words(speed))


async def _measure(quick: bool) -> QueueSpeed:
    from edgeproof.bench.queue.backlog import backlog
    from edgeproof.bench.queue.cycles import batched, single
    from edgeproof.bench.queue.ground import ground
    from edgeproof.bench.queue.peers import peers
    from edgeproof.bench.queue.report import QueueSpeed
    from edgeproof.bench.queue.waiting import pickup
    from edgeproof.server.postgres import EmbeddedPostgres

    load_before = round(os.getloadavg()[0], 2)
    seconds, jobs = (8.0, 1500) if quick else (60.0, 30_000)
    with tempfile.TemporaryDirectory(prefix="edgeproof-bench-") as name:
        folder = Path(name)
        postgres = EmbeddedPostgres(folder / "postgres")
        cluster = (await postgres.start()).dsn()
        try:
            async with ground(cluster, folder) as yard:
                runners = await yard.enlist(_CONNECTIONS)
                await yard.queue_jobs(jobs)
                one = await single(yard, runners, seconds)
                many = await batched(yard, runners[:4], seconds)
            async with ground(cluster, folder) as yard:
                runners = await yard.enlist(300 if quick else 1000)
                await yard.queue_jobs(1)
                await yard.plane.database.pool.execute("DELETE FROM run_queue")
                rate, span = (20.0, 8.0) if quick else (25.0, 60.0)
                few_waiting = await pickup(yard, runners[:10], rate, span)
                many_waiting = await pickup(yard, runners, rate, span)
                claims = 1500 if quick else 5000
                small = await backlog(yard, runners[:8], 1000, claims, "s")
                large = await backlog(yard, runners[:8], 50_000 if quick else 1_000_000, claims, "l")
            others = await peers(cluster, 2000 if quick else 10_000)
        finally:
            await postgres.stop()
    return QueueSpeed(
        cpus=os.cpu_count() or 1,
        load_before=load_before,
        quick=quick,
        single=one,
        batched=many,
        few=few_waiting,
        many=many_waiting,
        small_backlog=small,
        large_backlog=large,
        peers=others,
    )
