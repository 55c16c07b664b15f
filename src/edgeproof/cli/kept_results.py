"""``edgeproof results …``: runtime results that the control plane keeps."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, get_args

import click

from edgeproof.cli.json_files import read_json_object
from edgeproof.cli.options import connection, json_option, server_options
from edgeproof.cli.printing import echo_json, echo_lines
from edgeproof.contract.bundle import Basis
from edgeproof.contract.stored_results import ResultDocument, ResultFilter
from edgeproof.lab.percentiles import bare_words


@click.group()
def results() -> None:
    """List, show and add runtime results."""


@results.command(name="list")
@click.option("--model")
@click.option("--engine")
@click.option("--device")
@click.option("--precision")
@click.option("--basis", type=click.Choice(get_args(Basis)), help="signed: our own runners measured it.")
@click.option("--job", help="Of this job.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200))
@click.option("--cursor", help="Continue after an earlier page.")
@server_options
@json_option
@click.pass_context
def list_(
    context: click.Context,
    /,
    limit: int,
    cursor: str | None,
    server: str | None,
    token: str | None,
    data_dir: Path,
    as_json: bool,
    **wanted: Any,
) -> None:
    """The newest kept first: posted ones, and those that runners measured."""
    connected = connection(context, server, token, data_dir)

    async def ask() -> Any:
        async with connected.client() as client:
            return await client.results(ResultFilter(**wanted), cursor=cursor, limit=limit)

    page = asyncio.run(ask())
    if as_json:
        echo_json(page)
        return
    from rich.table import Table

    from edgeproof.cli.terminal import Terminal

    table = Table(box=None)
    # An id that is cut short names nothing.
    table.add_column(
        "result", no_wrap=True, min_width=max((len(one.result_id) for one in page.results), default=0)
    )
    for heading in ("basis", "work", "on", "mean ms", "measured"):
        table.add_column(heading, overflow="fold")
    for one in page.results:
        mean = "dry run" if one.dry_run else f"{one.mean_ms:.4g}"
        row = (one.result_id, one.basis, one.compare_key, one.backend_key, mean, one.measured_at)
        table.add_row(*row)
    console = Terminal(markup=False, soft_wrap=True)
    console.print(table)
    if page.next_cursor:
        console.print(f"more: --cursor {page.next_cursor}")


@results.command()
@click.argument("reference", metavar="ID|DIGEST")
@server_options
@json_option
@click.pass_context
def show(
    context: click.Context,
    reference: str,
    server: str | None,
    token: str | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """One result in full."""
    connected = connection(context, server, token, data_dir)

    async def ask() -> ResultDocument:
        async with connected.client() as client:
            return await client.result(reference)

    echo_result(asyncio.run(ask()), as_json)


@results.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@server_options
@json_option
@click.pass_context
def add(
    context: click.Context, file: Path, server: str | None, token: str | None, data_dir: Path, as_json: bool
) -> None:
    """Keep the runtime result in FILE (JSON). The same one again changes nothing."""
    body = read_json_object(file)
    connected = connection(context, server, token, data_dir)

    async def ask() -> ResultDocument:
        async with connected.client() as client:
            return await client.add_result(body)

    echo_result(asyncio.run(ask()), as_json)


def echo_result(one: ResultDocument, as_json: bool) -> None:
    """Of one kept result its keys and figures, or all of it as JSON."""
    if as_json:
        echo_json(one)
        return
    echo_lines(f"result   {one.result_id}", f"digest   sha256:{one.digest}")
    echo_lines(f"basis    {one.basis} ({one.source})")
    echo_lines(f"work     {one.compare_key}", f"on       {one.backend_key}", f"measured {one.measured_at}")
    for name in ("mean_ms", "p50_ms", "p95_ms", "p99_ms"):
        if (value := getattr(one, name)) is not None:
            told = bare_words(name)
            echo_lines(f"{name:<8} {value:.6g}{f' ({told})' if told else ''}")
    for name, value in one.accuracy.items():
        echo_lines(f"{name} {value:.6g}")
