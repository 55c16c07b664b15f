"""``edgeproof fleet keys …``: the allowlist of runner keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeproof.cli.asking import ask_as_admin
from edgeproof.cli.durations import Duration
from edgeproof.cli.options import json_option, server_options
from edgeproof.cli.printing import echo_json, echo_lines
from edgeproof.contract.fleet import RemoveKeyRequest, RotateKeyRequest, RunnerKeyView

if TYPE_CHECKING:
    from edgeproof.client.transport import ControlPlaneClient


@click.group()
def keys() -> None:
    """The allowlist of runner keys. A key is given as base64, a listed one also as sha256:FINGERPRINT."""


@keys.command(name="list")
@server_options
@json_option
@click.pass_context
def list_keys(
    context: click.Context, server: str | None, token: str | None, data_dir: Path, as_json: bool
) -> None:
    """Every key that was ever listed, with what became of it."""
    found = ask_as_admin(context, server, token, data_dir, lambda client: client.runner_keys())
    if as_json:
        echo_json(found)
        return
    for key in found.keys:
        echo_lines(key_line(key))


@keys.command()
@click.argument("public_key", metavar="KEY")
@server_options
@json_option
@click.pass_context
def add(
    context: click.Context,
    public_key: str,
    server: str | None,
    token: str | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Let the runner with KEY register."""
    added = ask_as_admin(context, server, token, data_dir, lambda client: client.add_runner_key(public_key))
    if as_json:
        echo_json(added)
    else:
        echo_lines(key_line(added))


@keys.command()
@click.argument("key", metavar="KEY")
@click.option("--reason", required=True, help="Why; kept with the key and shown.")
@click.option("--compromised-since", metavar="TIME",
              help="RFC 3339, UTC: decisions on its results from then on need review again.")  # fmt: skip
@server_options
@json_option
@click.pass_context
def remove(
    context: click.Context,
    key: str,
    reason: str,
    compromised_since: str | None,
    server: str | None,
    token: str | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Take KEY off the allowlist, at once: its leases end, its tokens open nothing."""
    request = RemoveKeyRequest(key=key, reason=reason, compromised_since=compromised_since)
    removed = ask_as_admin(context, server, token, data_dir, lambda client: client.remove_runner_key(request))
    if as_json:
        echo_json(removed)
        return
    echo_lines(key_line(removed.key))
    echo_lines(f"{removed.leases_ended} leases ended, {len(removed.withdrawn)} decisions need review again")
    for job_id in removed.withdrawn:
        echo_lines(f"  {job_id}")


@keys.command()
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option("--overlap-hours", default=24.0, show_default=True, type=Duration(0, 90 * 24),
              help="How long the old key stays good.")  # fmt: skip
@server_options
@json_option
@click.pass_context
def rotate(
    context: click.Context,
    old: str,
    new: str,
    overlap_hours: float,
    server: str | None,
    token: str | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Replace OLD by NEW. The runner keeps its id and its history; both are good during the overlap."""
    request = RotateKeyRequest(old=old, new=new, overlap_seconds=int(overlap_hours * 3600))
    rotated = ask_as_admin(context, server, token, data_dir, lambda client: client.rotate_runner_key(request))
    if as_json:
        echo_json(rotated)
        return
    echo_lines(key_line(rotated.old))
    echo_lines(key_line(rotated.new))


@keys.command()
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False),
              help="Where to write trust.json.")  # fmt: skip
@server_options
@click.pass_context
def trust(context: click.Context, out: Path, server: str | None, token: str | None, data_dir: Path) -> None:
    """Write the document for `verify --trust`: the control plane's key and every compromised runner key.

    A control plane other than this machine's own must be named with its key, URL#sha256:KEY.
    """

    async def ask(client: ControlPlaneClient) -> bytes:
        from edgeproof.contract.envelope import PublicKey
        from edgeproof.lab.trust import RevokedKey, trust_document

        listed = (await client.runner_keys()).keys
        revoked = [
            RevokedKey(
                public_key=one.public_key, compromised_since=one.compromised_since, reason=one.reason or ""
            )
            for one in listed
            if one.compromised_since is not None
        ]
        return trust_document(PublicKey.from_base64((await client.health()).server_key), revoked)

    from edgeproof.cli.analysis import write_whole

    write_whole(out, ask_as_admin(context, server, token, data_dir, ask, pinned=True))
    echo_lines(str(out))


def key_line(key: RunnerKeyView) -> str:
    line = (
        f"{key.public_key} {key.fingerprint} {key.state}, {key.source}, {key.runner_id or 'not registered'}"
    )
    if key.removed_at is not None:
        since = f", compromised since {key.compromised_since}" if key.compromised_since else ""
        return f"{line}, removed {key.removed_at} by {key.removed_by}: {key.reason}{since}"
    return f"{line}, good until {key.good_until}" if key.good_until else line
