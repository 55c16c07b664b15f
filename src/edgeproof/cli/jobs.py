"""``edgeproof jobs …``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, get_args

import click

from edgeproof.cli import exits
from edgeproof.cli.options import connection, json_option, server_options
from edgeproof.cli.printing import echo_json
from edgeproof.contract.jobs import JobStatus, JobView


@click.group()
def jobs() -> None:
    """List, show, watch and cancel jobs."""


@jobs.command(name="list")
@click.option("--status", type=click.Choice(get_args(JobStatus)))
@click.option("--workflow", help="Only jobs of this kind, as analyze.")
@click.option("--policy", help="Decided by this policy: a name or a digest.")
@click.option("--owner", help="Of this principal; for admins.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200))
@click.option("--cursor", help="Continue after an earlier page.")
@server_options
@json_option
@click.pass_context
def list_(
    context: click.Context,
    status: JobStatus | None,
    workflow: str | None,
    policy: str | None,
    owner: str | None,
    limit: int,
    cursor: str | None,
    server: str | None,
    token: str | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """The newest jobs first."""
    connected = connection(context, server, token, data_dir)

    async def ask() -> Any:
        async with connected.client() as client:
            return await client.jobs(
                status=status, workflow=workflow, policy=policy, owner=owner, cursor=cursor, limit=limit
            )

    page = asyncio.run(ask())
    if as_json:
        echo_json(page)
        return
    from rich.table import Table

    from edgeproof.cli.display import decision_of
    from edgeproof.cli.terminal import Terminal

    table = Table("job", "status", "decision", "created", box=None)
    for job in page.jobs:
        table.add_row(job.job_id, job.status, decision_of(job).get("decision", "–"), job.created_at)
    console = Terminal()
    console.print(table)
    if page.next_cursor:
        console.print(f"more: --cursor {page.next_cursor}")


@jobs.command()
@click.argument("job_id")
@server_options
@json_option
@click.pass_context
def show(
    context: click.Context, job_id: str, server: str | None, token: str | None, data_dir: Path, as_json: bool
) -> int:
    """One job: its decision with reasons, its runs, or its error.

    Exits 3 when its decision is unsigned or was withdrawn.
    """
    connected = connection(context, server, token, data_dir)

    async def ask() -> JobView:
        async with connected.client() as client:
            return await client.job(job_id)

    job = asyncio.run(ask())
    _print(job, as_json)
    return exits.of_reading(job)


@jobs.command()
@click.argument("job_id")
@server_options
@json_option
@click.pass_context
def watch(
    context: click.Context, job_id: str, server: str | None, token: str | None, data_dir: Path, as_json: bool
) -> int:
    """Follow a job until it has ended; exits as `analyze` does."""
    connected = connection(context, server, token, data_dir)

    async def ask() -> JobView:
        from edgeproof.cli.analysis import follow
        from edgeproof.cli.display import LiveJob, live
        from edgeproof.cli.terminal import Terminal

        async with connected.client() as client:
            with live(Terminal(stderr=True)) as progress:
                return await follow(client, job_id, LiveJob(progress, job_id).on_event)

    job = asyncio.run(ask())
    _print(job, as_json)
    return exits.of_job(job)


@jobs.command()
@click.argument("job_id")
@server_options
@json_option
@click.pass_context
def cancel(
    context: click.Context, job_id: str, server: str | None, token: str | None, data_dir: Path, as_json: bool
) -> None:
    """Ask that a job stop. It is cancelled once none of its runs is leased."""
    connected = connection(context, server, token, data_dir)

    async def ask() -> JobView:
        async with connected.client() as client:
            return await client.cancel(job_id)

    _print(asyncio.run(ask()), as_json)


def _print(job: JobView, as_json: bool) -> None:
    if as_json:
        echo_json(job)
        return
    from edgeproof.cli.display import print_job, run_line
    from edgeproof.cli.terminal import Terminal

    console = Terminal(soft_wrap=True)
    print_job(console, job)
    for run in job.runs:
        console.print(f"run      {run_line(run)}", markup=False)
    for lacking in job.waiting_for:
        console.print(f"waiting  {lacking}", markup=False)
