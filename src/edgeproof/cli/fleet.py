"""``edgeproof fleet …``: the runners of a control plane, and the keys that may be runners."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from edgeproof.cli.abilities import lines_of
from edgeproof.cli.ages import age
from edgeproof.cli.asking import ask_as_admin
from edgeproof.cli.fleet_keys import key_line, keys
from edgeproof.cli.options import json_option, server_options
from edgeproof.cli.printing import echo_json, echo_lines
from edgeproof.cli.standing import drain, quarantine, release

if TYPE_CHECKING:
    from rich.table import Table

    from edgeproof.contract.runners import RunnerView

_DEVICE_WIDTH: Final = len("linux-aarch64;")


@click.group()
def fleet() -> None:
    """The runners of a control plane, and the keys that may be runners."""


for _command in (keys, drain, quarantine, release):
    fleet.add_command(_command)


@fleet.command(name="list")
@server_options
@json_option
@click.pass_context
def list_(
    context: click.Context, server: str | None, token: str | None, data_dir: Path, as_json: bool
) -> None:
    """The runners that have registered."""
    found = ask_as_admin(context, server, token, data_dir, lambda client: client.runners())
    if as_json:
        echo_json(found)
        return
    from edgeproof.cli.terminal import Terminal

    Terminal().print(runners_table(found.runners, datetime.now(UTC)))


def runners_table(runners: Sequence[RunnerView], now: datetime) -> Table:
    """A line a runner, where there is room. In 80 columns nothing is cut: what is long goes on below."""
    from rich.markup import escape
    from rich.table import Column, Table

    table = Table(
        # The id is what people copy; standing and age are what they look for.
        *(Column("runner", no_wrap=True), Column("host", overflow="fold")),
        Column("device", overflow="fold", min_width=_DEVICE_WIDTH),
        *(Column("standing", no_wrap=True), Column("last seen", no_wrap=True)),
        box=None,
        pad_edge=False,
    )
    for one in runners:
        told = one.capabilities
        device = ", ".join((told.device_class, *(gpu.name for gpu in told.gpus)))
        backends = ", ".join(engine.name for engine in told.backends) or "no backend"
        table.add_row(
            *(one.runner_id, escape(one.hostname)),
            escape(f"{device}; {backends}; {told.isolation}"),
            *(one.standing if one.allowed else "no good key", age(one.last_seen_at, now)),
        )
    return table


@fleet.command()
@click.argument("runner_id", metavar="RUNNER")
@server_options
@json_option
@click.pass_context
def show(
    context: click.Context,
    runner_id: str,
    server: str | None,
    token: str | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """One runner: what it can do, its keys, what it holds, what became of its runs."""
    found = ask_as_admin(context, server, token, data_dir, lambda client: client.runner(runner_id))
    if as_json:
        echo_json(found)
        return
    from edgeproof.domain.requirements import in_words

    runner = found.runner
    echo_lines(f"runner    {runner.runner_id} on {runner.hostname}, last seen {runner.last_seen_at}")
    why = f": {runner.standing_reason}" if runner.standing_reason else ""
    echo_lines(f"standing  {runner.standing}{why}")
    for kind, words in lines_of(runner.capabilities):
        echo_lines(f"{kind:<9} {words}")
    for one in found.classes:
        echo_lines(f"does      {in_words(one.needs)}; {one.pending} wait")
    for key in found.keys:
        echo_lines(f"key       {key_line(key)}")
    for run in found.holding:
        says = f": {run.status_text}" if run.status_text else ""
        echo_lines(f"holds     {run.run_id} ({run.stage} of {run.job_id}) until {run.lease_expires_at}{says}")
    for state, runs in sorted(found.outcomes.items()):
        echo_lines(f"{state.lower():<9} {runs}")
