"""``edgeproof workers …``: Forges and Runtimes that are not ours (seed 000's worker boundary)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from edgeproof.cli import exits
from edgeproof.cli.options import connection, json_option, server_options
from edgeproof.cli.printing import echo_json, echo_lines
from edgeproof.contract.errors import Refused
from edgeproof.contract.worker import WorkerRequest

if TYPE_CHECKING:
    from edgeproof.client.transport import ControlPlaneClient

MAX_FILE_BYTES: Final = 1 << 20
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_OUT = click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write there; default: standard output."
)


@click.group()
def workers() -> None:
    """Hand jobs to a Forge or Runtime that is not ours, and take its answers."""


@workers.group()
def token() -> None:
    """Tokens of external workers. For admins."""


@token.command()
@click.argument("name")
@server_options
@json_option
@click.pass_context
def create(
    context: click.Context, name: str, server: str | None, token: str | None, data_dir: Path, as_json: bool
) -> None:
    """Make a token for the worker NAME. It is shown this once."""
    made = _ask(context, server, token, data_dir, lambda client: client.create_worker(name), admin=True)
    if as_json:
        echo_json(made)
    else:
        echo_lines(f"worker {made.worker_id}", f"token  {made.token}")


@token.command(name="list")
@server_options
@json_option
@click.pass_context
def list_(
    context: click.Context, server: str | None, token: str | None, data_dir: Path, as_json: bool
) -> None:
    """The external workers, oldest first."""
    found = _ask(context, server, token, data_dir, lambda client: client.workers())
    if as_json:
        echo_json(found)
        return
    from rich.markup import escape
    from rich.table import Table

    from edgeproof.cli.terminal import Terminal

    table = Table("worker", "name", "created", "revoked", box=None)
    for one in found.workers:
        table.add_row(one.worker_id, escape(one.name), one.created_at, one.revoked_at or "–")
    Terminal(soft_wrap=True).print(table)


@token.command()
@click.argument("worker_id")
@server_options
@json_option
@click.pass_context
def revoke(
    context: click.Context,
    worker_id: str,
    server: str | None,
    token: str | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Revoke the token of WORKER_ID: its next call is refused."""
    ended = _ask(context, server, token, data_dir, lambda client: client.revoke_worker(worker_id), admin=True)
    if as_json:
        echo_json(ended)
    else:
        echo_lines(f"worker {ended.worker_id} revoked at {ended.revoked_at}")


@workers.command()
@click.argument("job_id")
@_OUT
@server_options
@click.pass_context
def request(
    context: click.Context,
    job_id: str,
    out: Path | None,
    server: str | None,
    token: str | None,
    data_dir: Path,
) -> None:
    """The worker request of a queued job, as JSON. Reading it changes nothing."""
    told = _ask(context, server, token, data_dir, lambda client: client.worker_request(job_id))
    _write(out, msgspec.json.encode(told))


@workers.command()
@click.argument("file", type=_FILE)
@server_options
@json_option
@click.pass_context
def respond(
    context: click.Context, file: Path, server: str | None, token: str | None, data_dir: Path, as_json: bool
) -> int:
    """Send the worker response in FILE, with a worker's token, to the job that it names.

    Exits 3 for a completed job, whose evidence is unsigned, and 1 for a failed one.
    """
    body = _read(file)
    try:
        job_id = msgspec.json.decode(body, type=dict[str, Any]).get("job_id")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused("invalid_json", f"{file.name}: {error}") from error
    if not isinstance(job_id, str):
        raise Refused("invalid_request", f"{file.name} names no job_id")
    receipt = _ask(context, server, token, data_dir, lambda client: client.send_worker_response(job_id, body))
    if as_json:
        echo_json(receipt)
    elif receipt.error is None:
        echo_lines(f"job {receipt.job_id} {receipt.status}: {receipt.decision} (unsigned evidence)")
    else:
        why = receipt.error
        echo_lines(f"job {receipt.job_id} failed in {why.stage}: {why.message} [{why.code}]")
        for one in why.evidence:
            echo_lines(f"  {msgspec.json.encode(one).decode()}")
    return exits.REVIEW if receipt.status == "completed" else exits.ERROR


@workers.command(name="dry-run")
@click.argument("file", metavar="REQUEST", type=_FILE)
@click.option("--status", type=click.Choice(("completed", "failed")), default="completed", show_default=True)
@click.option("--error-message", help="Of a failed answer.")
@_OUT
def dry_run(file: Path, status: str, error_message: str | None, out: Path | None) -> None:
    """Answer the worker request in REQUEST as a Runtime's dry run would, offline.

    Nothing is executed: every latency is zero, and the decision on such a result is `unknown`.
    """
    from edgeproof.lab.dry_run import dry_completed, dry_failed

    try:
        told = msgspec.json.decode(_read(file), type=WorkerRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused("invalid_request", f"{file.name} is no worker request: {error}") from error
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = dry_completed(told, at) if status == "completed" else dry_failed(told, at, error_message)
    _write(out, msgspec.json.encode(answer))


def _ask(
    context: click.Context,
    server: str | None,
    token: str | None,
    data_dir: Path,
    call: Callable[[ControlPlaneClient], Awaitable[Any]],
    *,
    admin: bool = False,
) -> Any:
    connected = connection(context, server, token, data_dir, admin=admin)

    async def ask() -> Any:
        async with connected.client() as client:
            return await call(client)

    return asyncio.run(ask())


def _read(file: Path) -> bytes:
    if file.stat().st_size > MAX_FILE_BYTES:
        raise Refused("body_too_large", f"{file.name} has more than {MAX_FILE_BYTES} bytes")
    return file.read_bytes()


def _write(out: Path | None, document: bytes) -> None:
    pretty = msgspec.json.format(document, indent=2) + b"\n"
    if out is None:
        click.echo(pretty.decode(), nl=False)
        return
    from edgeproof.cli.analysis import write_whole

    write_whole(out, pretty)
