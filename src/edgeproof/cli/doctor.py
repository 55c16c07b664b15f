"""``edgeproof doctor``."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from edgeproof.cli.options import data_dir_option, json_option
from edgeproof.cli.use_cases import UseCases


@click.command()
@data_dir_option
@json_option
@click.pass_obj
def doctor(use_cases: UseCases, data_dir: Path, as_json: bool) -> None:
    """What this machine can build and run, what is missing, and which isolation level it has."""
    report = use_cases.doctor(data_dir)
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
        return
    from rich.markup import escape

    from edgeproof.cli.terminal import Terminal

    console = Terminal(soft_wrap=True)
    for check in report.checks:
        mark = "[green]ok[/]     " if check.ok else "[yellow]missing[/]"
        console.print(f"{mark} {check.name}: {escape(check.detail)}")
        if not check.ok and check.remedy:
            console.print(f"        → {escape(check.remedy)}")
    console.print(f"device   {report.device_class}")
    console.print(f"features {' '.join(report.cpu_features) or 'none told'}")
    console.print(f"gpus     {escape('; '.join(report.gpus)) or 'none'}")
    console.print(f"backends {escape(', '.join(report.backends)) or 'none'}")
    console.print(f"presets  {', '.join(report.presets) or 'none'}")
