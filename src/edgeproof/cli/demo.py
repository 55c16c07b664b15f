"""``edgeproof demo``."""

from __future__ import annotations

from pathlib import Path

import click

from edgeproof.cli.options import json_option
from edgeproof.cli.use_cases import DemoOptions, UseCases

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.option("--out", type=_FOLDER, default=Path("demo-out"), show_default=True, help="Where results go.")
@click.option("--example", type=_FOLDER, default=Path("examples/digits"), show_default=True)
@json_option
@click.pass_obj
def demo(use_cases: UseCases, out: Path, example: Path, as_json: bool) -> int:
    """Start the whole system on loopback, prove three candidates, print one table, stop everything.

    Exits 0 when all three were judged, whatever the decisions are.
    """
    return use_cases.demo(DemoOptions(out=out, example=example, json=as_json))
