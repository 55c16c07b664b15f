"""The command group. A command's module is imported when the command is called, so that help is quick."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

import click

from edgeproof import __version__
from edgeproof.cli import exits
from edgeproof.cli.printing import echo_lines
from edgeproof.contract.errors import EdgeproofError, Problem

# name -> (module, attribute, one line for the overview)
COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
    "analyze": ("analyze", "analyze", "Prove a model on a device: build, measure, judge, sign."),
    "audit": ("audit", "audit", "Who did what, and whether the log of it still holds."),
    "bench": ("bench", "bench", "Measure Edgeproof itself on this machine, against its goals."),
    "compare": ("compare", "compare", "Compare two results that nobody signed."),
    "demo": ("demo", "demo", "Run the whole system on the example models, then stop it."),
    "doctor": ("doctor", "doctor", "What this machine can build and run, and what is missing."),
    "fleet": ("fleet", "fleet", "The runners of a control plane, and their keys."),
    "guard": ("guard", "guard", "Judge what an object detector found, offline."),
    "jobs": ("jobs", "jobs", "List, show, watch and cancel jobs."),
    "policy": ("policy", "policy", "List, show, add and check decision policies."),
    "queue": ("queue", "queue", "Look at the run queue; do failed jobs again."),
    "report": ("report", "report", "Write the report of ended jobs again, from their evidence."),
    "results": ("kept_results", "results", "List, show and add runtime results."),
    "runner": ("runner", "runner", "Run this machine as a runner; enrol others."),
    "submit": ("submit", "submit", "Deliver a runner's signed result by hand."),
    "up": ("up", "up", "Start all that one machine needs, until Ctrl-C."),
    "workers": ("workers", "workers", "Hand jobs to a Forge or Runtime that is not ours."),
    "verify": ("verify", "verify", "Check an evidence folder offline."),
}


class LazyGroup(click.Group):
    """Lists commands from the table above and imports one only to run it or to show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        entry = COMMANDS.get(name)
        if entry is None:
            return None
        module = importlib.import_module(f"edgeproof.cli.{entry[0]}")
        command: click.Command = getattr(module, entry[1])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][2]) for name in sorted(COMMANDS)])

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Runs a command and ends the process as DESIGN decision 21 says."""
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
        except EdgeproofError as error:
            _print_error(error)
            sys.exit(exits.ERROR)
        except click.exceptions.Abort:
            sys.exit(exits.INTERRUPTED)
        except KeyboardInterrupt:
            sys.exit(exits.INTERRUPTED)
        except click.ClickException as error:
            error.show()
            sys.exit(exits.USAGE)
        sys.exit(code if isinstance(code, int) else 0)


def _print_error(error: EdgeproofError) -> None:
    if "--json" in sys.argv:
        import msgspec

        problem: Problem = error.problem()
        click.echo(msgspec.json.encode(problem).decode())
    else:
        echo_lines(*exits.lines(error), err=True)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgeproof")
def cli() -> None:
    """Edgeproof proves a model on the devices it will run on.

    Exit codes: 0 deployable, 2 blocked, 3 review required or unknown, 1 error, 64 wrong usage,
    130 interrupted.
    """
