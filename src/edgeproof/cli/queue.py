"""``edgeproof queue …``: how the run queue stands, its dead letters, and doing their work again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from edgeproof.cli.options import connection, json_option, server_options
from edgeproof.cli.printing import echo_json, echo_lines
from edgeproof.contract.jobs import JobView


@click.group()
def queue() -> None:
    """Look at the run queue; do failed jobs again."""


@queue.command()
@server_options
@json_option
@click.pass_context
def stats(
    context: click.Context, server: str | None, token: str | None, data_dir: Path, as_json: bool
) -> None:
    """What waits, what is leased, what is dead, and who could do it. For admins."""
    connected = connection(context, server, token, data_dir, admin=True)

    async def ask() -> Any:
        async with connected.client() as client:
            return await client.queue_stats()

    found = asyncio.run(ask())
    if as_json:
        echo_json(found)
        return
    echo_lines(f"pending {found.pending}, leased {found.leased} ({found.expired} expired), dead {found.dead}")
    echo_lines(
        f"runners {found.active_runners} active, {found.draining_runners} draining,"
        f" {found.quarantined_runners} quarantined"
    )
    from edgeproof.domain.requirements import in_words

    for one in found.classes:
        oldest = "" if one.oldest_seconds is None else f", the oldest for {one.oldest_seconds:.0f} s"
        echo_lines(
            f"  {in_words(one.needs)}: {one.pending} wait{oldest};"
            f" {one.leased} leased; {one.runners} runners fit"
        )


@queue.command()
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True)
@click.option("--cursor", help="The page behind this one's end: `next_cursor` of --json.")
@server_options
@json_option
@click.pass_context
def dead(
    context: click.Context,
    limit: int,
    cursor: str | None,
    server: str | None,
    token: str | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Runs that failed for want of attempts, newest first. For admins."""
    connected = connection(context, server, token, data_dir, admin=True)

    async def ask() -> Any:
        async with connected.client() as client:
            return await client.dead_letters(cursor=cursor, limit=limit)

    page = asyncio.run(ask())
    if as_json:
        echo_json(page)
        return
    for one in page.runs:
        again = "" if one.retried_by is None else f"; done again as {one.retried_by}"
        echo_lines(
            f"{one.finished_at}  {one.job_id}  {one.run_id}  {one.stage}  {one.attempts} attempts,"
            f" {one.failure.code}: {one.failure.message}{again}"
        )
    if not page.runs:
        echo_lines("no dead letters")


@queue.command()
@click.argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@server_options
@json_option
@click.pass_context
def requeue(
    context: click.Context,
    job_ids: tuple[str, ...],
    server: str | None,
    token: str | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Do failed JOBs again, each as a new job that names the old one.

    Ends at the first that is refused; those before it are done again. --json lists them before the error.
    """
    connected = connection(context, server, token, data_dir, admin=True)
    views: list[JobView] = []

    async def ask() -> None:
        async with connected.client() as client:
            for one in job_ids:
                view = await client.requeue(one)
                views.append(view)
                if not as_json:
                    echo_lines(f"{view.retry_of} is done again as {view.job_id}")

    try:
        asyncio.run(ask())
    finally:
        if as_json and views:
            echo_json(views)
