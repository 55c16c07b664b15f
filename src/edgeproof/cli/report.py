"""``edgeproof report``: the report of ended jobs again, from their evidence."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from edgeproof.cli import exits
from edgeproof.cli.options import connection, server_options
from edgeproof.cli.printing import echo_lines
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobView

ENDED = ("completed", "failed", "cancelled")


@click.command()
@click.argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False),
              help="Write report.html, report.md, summary.json, evidence/ and trust.json there.")  # fmt: skip
@server_options
@click.pass_context
def report(
    context: click.Context,
    job_ids: tuple[str, ...],
    out: Path,
    server: str | None,
    token: str | None,
    data_dir: Path,
) -> int:
    """Write the report of one or more ended jobs, with the evidence that they rest on.

    Exits 3 when a decision is unsigned, or was withdrawn since, and says why.
    """
    connected = connection(context, server, token, data_dir)

    async def ask() -> list[JobView]:
        from edgeproof.cli.results import write_results
        from edgeproof.lab.report import candidate_name

        async with connected.client() as client:
            jobs = [await client.job(job_id) for job_id in dict.fromkeys(job_ids)]
            for job in jobs:
                if job.status not in ENDED:
                    raise Refused("conflict", f"job {job.job_id} is {job.status}; see `edgeproof jobs watch`")
            await write_results(client, out, [(candidate_name(job), job) for job in jobs])
            return jobs

    from edgeproof.lab.withdrawn import words

    jobs = asyncio.run(ask())
    echo_lines(str(out / "report.html"))
    for job in jobs:
        if job.withdrawn is not None:
            echo_lines(f"{job.job_id}: review required, {words(job.withdrawn)}")
    return max(exits.of_reading(job) for job in jobs)
