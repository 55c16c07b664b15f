"""``edgeproof bench queue``."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from edgeproof.cli.options import json_option
from edgeproof.cli.printing import echo_json

if TYPE_CHECKING:
    from edgeproof.bench.queue.endurance import Endurance
    from edgeproof.bench.queue.report import Goal, QueueSpeed

_CONNECTIONS: Final = 16
_CROWD: Final = 128
"""Rounds of single calls are as large as the crowd that calls (ADR 14)."""
_BATCHING: Final = 4
_CLAIMING: Final = 8


@click.command()
@click.option("--quick", is_flag=True, help="About two minutes: shorter, and with a smaller backlog.")
@click.option("--cycles", type=click.IntRange(1), help="Only this: so many cycles in batches, and what they "
              "leave behind in the table. A million takes half an hour.")  # fmt: skip
@json_option
def queue(quick: bool, cycles: int | None, as_json: bool) -> None:
    """What the run queue does here: claims, heartbeats and signed results over HTTP, against its goals.

    It starts a control plane and a database of its own in a temporary folder. The load generator and all
    signing of both sides share the processor with them. Nothing else should run on the machine.
    """
    from edgeproof.bench.queue.report import endurance_goal, endurance_words, words

    if quick and cycles:
        raise click.UsageError("--cycles is a benchmark of its own: it takes no --quick")
    if cycles:
        lasting = asyncio.run(_endure(cycles))
        if as_json:
            echo_json(_with_goals(lasting, [endurance_goal(lasting)]))
        else:
            click.echo(endurance_words(lasting))
        return
    speed = asyncio.run(_measure(quick))
    if as_json:
        echo_json(_with_goals(speed, speed.goals()))
    else:
        click.echo(words(speed))


def _with_goals(told: QueueSpeed | Endurance, goals: Sequence[Goal]) -> dict[str, Any]:
    return {**msgspec.to_builtins(told), "goals": msgspec.to_builtins(goals)}


@asynccontextmanager
async def _cluster() -> AsyncIterator[tuple[str, Path]]:
    """A database server's address, and a folder; both are gone on leaving."""
    from edgeproof.server.postgres import EmbeddedPostgres

    with tempfile.TemporaryDirectory(prefix="edgeproof-bench-") as name:
        postgres = EmbeddedPostgres(Path(name) / "postgres")
        cluster = (await postgres.start()).dsn()
        try:
            yield cluster, Path(name)
        finally:
            await postgres.stop()


async def _endure(cycles: int) -> Endurance:
    from edgeproof.bench.queue.endurance import endure
    from edgeproof.bench.queue.ground import ground

    async with _cluster() as (cluster, folder), ground(cluster, folder) as yard:
        runners = await yard.enlist(_BATCHING)
        return await endure(yard, runners, cycles, _say)


def _say(line: str) -> None:
    """Progress."""
    click.echo(line, err=True)


async def _measure(quick: bool) -> QueueSpeed:
    from edgeproof.bench.queue.backlog import backlogs
    from edgeproof.bench.queue.cycles import batched, single
    from edgeproof.bench.queue.ground import ground
    from edgeproof.bench.queue.peers import peers
    from edgeproof.bench.queue.report import QueueSpeed
    from edgeproof.bench.queue.waiting import pickups

    load_before = round(os.getloadavg()[0], 2)
    seconds, jobs = (8.0, 5000) if quick else (60.0, 60_000)
    async with _cluster() as (cluster, folder):
        async with ground(cluster, folder) as yard:
            runners = await yard.enlist(_CROWD)
            await yard.queue_jobs(1)
            await yard.copy_jobs(1, jobs)
            _say(f"cycles singly by {_CONNECTIONS} runners, for {seconds:g} s")
            one = await single(yard, runners[:_CONNECTIONS], seconds)
            _say(f"{one.per_second:g} a second; singly by {_CROWD} runners, for {seconds:g} s")
            crowd = await single(yard, runners, seconds)
            _say(f"{crowd.per_second:g} a second; in batches by {_BATCHING} runners, for {seconds:g} s")
            batches = await batched(yard, runners[:_BATCHING], seconds)
            _say(f"{batches.per_second:g} a second")
        async with ground(cluster, folder) as yard:
            runners = await yard.enlist(300 if quick else 1000)
            await yard.queue_jobs(1)
            await yard.plane.database.pool.execute("DELETE FROM run_queue")
            rate, span = (20.0, 8.0) if quick else (25.0, 60.0)
            crowds = runners[:10], runners
            _say(f"picking up what begins to wait, by 10 and by {len(runners)} runners, {span:g} s each")
            few, many = await pickups(yard, crowds, rate, span, turns=2 if quick else 4)
        _say("claims behind a small and a large backlog, which is filled first")
        async with ground(cluster, folder) as small, ground(cluster, folder) as large:
            waiting = await backlogs(
                (small, await small.enlist(_CLAIMING)),
                (large, await large.enlist(_CLAIMING)),
                (1000, 50_000 if quick else 1_000_000),
                turns=4 if quick else 20,
                claims=400,
            )
        _say("other queues")
        others = await peers(cluster, 2000 if quick else 10_000)
    return QueueSpeed(
        cpus=os.cpu_count() or 1,
        load_before=load_before,
        quick=quick,
        single=one,
        crowded=crowd,
        batched=batches,
        few=few,
        many=many,
        backlogs=waiting,
        peers=others,
    )
