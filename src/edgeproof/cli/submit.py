"""``edgeproof submit``: a result that its runner could not deliver itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from edgeproof.cli.options import connection, json_option, server_options
from edgeproof.cli.printing import echo_json, echo_lines
from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import SubmitResponse

if TYPE_CHECKING:
    from edgeproof.runner.outbox import PendingResult

_MAX_BYTES = 64 << 20


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@server_options
@json_option
@click.pass_context
def submit(
    context: click.Context, file: Path, server: str | None, token: str | None, data_dir: Path, as_json: bool
) -> None:
    """Deliver FILE, a signed result from a runner's outbox, for a job of yours.

    The control plane checks it exactly as if the runner had come itself: the lease must not have been lost,
    the signature must be the runner's, and what the result names must have been uploaded.
    """
    connected = connection(context, server, token, data_dir)
    pending = _read(file)

    async def ask() -> SubmitResponse:
        async with connected.client() as client:
            return await client.submit(pending.run_id, pending.lease, pending.envelope.encode())

    answer = asyncio.run(ask())
    if as_json:
        echo_json(answer)
    else:
        echo_lines(f"run {answer.run_id} is {answer.state}, evidence sha256:{answer.evidence_digest}")


def _read(file: Path) -> PendingResult:
    from edgeproof.runner.outbox import PendingResult

    if file.stat().st_size > _MAX_BYTES:
        raise Refused("invalid_request", f"{file} is larger than any result")
    try:
        return msgspec.json.decode(file.read_bytes(), type=PendingResult)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused("invalid_request", f"{file} is no result of a runner's outbox: {error}") from error
