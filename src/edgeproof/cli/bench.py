"""``edgeproof bench …``: the benchmarks that ship, found by name, for nothing may import their room."""

from __future__ import annotations

import importlib
from typing import Final

import click

BENCHMARKS: Final[dict[str, tuple[str, str]]] = {
    # name -> (module with a click command of that name, one line for the overview)
    "queue": ("edgeproof.bench.queue.command", "What the run queue does a second, and how soon."),
    "verdict": ("edgeproof.bench.verdict.command", "How often the verdict is wrong, from real executions."),
}


class _Benchmarks(click.Group):
    """Imports a benchmark, and what it needs, only to run it or to show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(BENCHMARKS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        entry = BENCHMARKS.get(name)
        if entry is None:
            return None
        command: click.Command = getattr(importlib.import_module(entry[0]), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, BENCHMARKS[name][1]) for name in sorted(BENCHMARKS)])


@click.group(cls=_Benchmarks)
def bench() -> None:
    """Measure Edgeproof itself on this machine, against its goals."""
