"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgeproof.cli.connection import Connection, connect, connect_pinned, default_data_dir
from edgeproof.cli.use_cases import UseCases

F = TypeVar("F", bound=Callable[..., Any])


def data_dir_option(command: F) -> F:
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=default_data_dir,
        show_default="~/.local/share/edgeproof",
        envvar="EDGEPROOF_DATA_DIR",
        help="The folder of this machine's `edgeproof up`.",
    )(command)


def server_options(command: F) -> F:
    """``--server``, ``--token`` and ``--data-dir``."""
    command = click.option("--token", help="API token; default EDGEPROOF_TOKEN, else the local one.")(command)
    command = click.option(
        "--server",
        envvar="EDGEPROOF_SERVER",
        metavar="URL[#sha256:KEY]",
        help="The control plane; default: the one of --data-dir.",
    )(command)
    return data_dir_option(command)


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(command)


def log_format_option(command: F) -> F:
    return click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        envvar="EDGEPROOF_LOG_FORMAT",
        help="The log on standard error.",
    )(command)


def connection(
    context: click.Context,
    server: str | None,
    token: str | None,
    data_dir: Path,
    *,
    admin: bool = False,
    pinned: bool = False,
) -> Connection:
    """``pinned``: not to a control plane whose key nobody has named."""
    use_cases: UseCases = context.obj
    find = connect_pinned if pinned else connect
    return find(server, token or use_cases.token, data_dir, admin=admin)
