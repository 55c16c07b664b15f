"""``edgeproof runner tokens …``: the enrolment tokens that were made, and ending one before its time."""

from __future__ import annotations

from pathlib import Path

import click

from edgeproof.cli.asking import ask_as_admin
from edgeproof.cli.options import json_option, server_options
from edgeproof.cli.printing import echo_json, echo_lines
from edgeproof.contract.runners import EnrolmentTokenView


@click.group()
def tokens() -> None:
    """Enrolment tokens, named by their digests: the tokens themselves are not kept. For admins."""


@tokens.command(name="list")
@server_options
@json_option
@click.pass_context
def list_(
    context: click.Context, server: str | None, token: str | None, data_dir: Path, as_json: bool
) -> None:
    """The newest 1000 that `runner enrol` made, those that are good no more too."""
    found = ask_as_admin(context, server, token, data_dir, lambda client: client.enrolment_tokens())
    if as_json:
        echo_json(found)
        return
    for one in found.tokens:
        echo_lines(_line(one))


@tokens.command()
@click.argument("digest", metavar="DIGEST")
@server_options
@json_option
@click.pass_context
def revoke(
    context: click.Context,
    digest: str,
    server: str | None,
    token: str | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """End the token with this DIGEST: no more keys join by it. Those that did stay (`fleet keys remove`)."""
    ended = ask_as_admin(
        context, server, token, data_dir, lambda client: client.revoke_enrolment_token(digest)
    )
    if as_json:
        echo_json(ended)
    else:
        echo_lines(_line(ended))


def _line(one: EnrolmentTokenView) -> str:
    ends = f"expires {one.expires_at}" if one.revoked_at is None else f"revoked {one.revoked_at}"
    return f"{one.digest} {one.uses_left} uses left, {ends}, made {one.created_at} by {one.created_by}"
