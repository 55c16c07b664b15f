"""``edgeproof fleet drain|quarantine|release``: whether a runner gets work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeproof.cli.asking import ask_as_admin
from edgeproof.cli.options import json_option, server_options
from edgeproof.cli.printing import echo_json, echo_lines

if TYPE_CHECKING:
    from edgeproof.contract.runners import RunnerStanding


def _standing(name: str, standing: RunnerStanding, help_: str) -> click.Command:
    @click.command(name=name, help=help_)
    @click.argument("runner_id", metavar="RUNNER")
    @click.option("--reason", default="", help="Why; the runner's entry shows it.")
    @server_options
    @json_option
    @click.pass_context
    def command(
        context: click.Context,
        runner_id: str,
        reason: str,
        server: str | None,
        token: str | None,
        data_dir: Path,
        as_json: bool,
    ) -> None:
        view = ask_as_admin(
            context, server, token, data_dir, lambda client: client.set_standing(runner_id, standing, reason)
        )
        if as_json:
            echo_json(view)
            return
        echo_lines(f"{view.runner_id} is {view.standing}; it holds {view.held} runs")

    return command


drain = _standing("drain", "draining", "Give RUNNER nothing new. It finishes what it holds.")
quarantine = _standing(
    "quarantine",
    "quarantined",
    "Give RUNNER nothing new until it is released: its work is not to be trusted.",
)
release = _standing("release", "active", "Let a drained or quarantined RUNNER work again.")
