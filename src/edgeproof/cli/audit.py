"""``edgeproof audit …``: who did what, and whether the log of it still holds."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeproof.cli import exits
from edgeproof.cli.options import connection, json_option, server_options
from edgeproof.cli.printing import echo_json, echo_lines
from edgeproof.contract.audit import AuditEntry, AuditList
from edgeproof.contract.errors import Refused

if TYPE_CHECKING:
    from edgeproof.lab.audit import AuditCheck, Head

_HEAD = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})\Z")


@click.group()
def audit() -> None:
    """Who did what to keys, leases, results and decisions."""


@audit.command(name="list")
@click.option("--subject", help="About this alone: a run, a job, a key's fingerprint.")
@click.option("--actor", help="By this principal or runner alone.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000))
@click.option("--before", type=click.IntRange(1), help="Continue after an earlier page.")
@server_options
@json_option
@click.pass_context
def list_(
    context: click.Context,
    subject: str | None,
    actor: str | None,
    limit: int,
    before: int | None,
    server: str | None,
    token: str | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """The newest entries first."""
    connected = connection(context, server, token, data_dir, admin=True)

    async def ask() -> AuditList:
        async with connected.client() as client:
            return await client.audit(before=before, subject=subject, actor=actor, limit=limit)

    page = asyncio.run(ask())
    if as_json:
        echo_json(page)
        return
    for entry in page.entries:
        told = " ".join(f"{name}={value}" for name, value in sorted(entry.data.items()))
        echo_lines(f"{entry.entry_id} {entry.at} {entry.actor} {entry.act} {entry.subject} {told}".rstrip())
    if page.next_before is not None:
        echo_lines(f"more: --before {page.next_before}")


@audit.command()
@click.option("--head", metavar="SEAL:HEX", help="A head printed earlier: it must still be part of the log.")
@server_options
@json_option
@click.pass_context
def verify(
    context: click.Context,
    head: str | None,
    server: str | None,
    token: str | None,
    data_dir: Path,
    as_json: bool,
) -> int:
    """Check every entry, link and signature of the log here. Exits 1 and names what does not hold.

    The key is the one that the control plane is pinned to (this machine's own, or URL#sha256:KEY); without
    one it is refused.
    """
    connected = connection(context, server, token, data_dir, admin=True, pinned=True)
    expect = _head(head)

    async def ask() -> tuple[AuditCheck, tuple[AuditEntry, ...]]:
        from edgeproof.contract.envelope import PublicKey
        from edgeproof.lab.audit import AuditCheck

        async with connected.client() as client:
            key = PublicKey.from_base64((await client.health()).server_key)
            check = AuditCheck(key, expect)
            after: int | None = 0
            while after is not None:
                page = await client.audit_seals(after=after)
                for seal in page.seals:
                    check.seal(seal)
                after = page.next_after
            check.end(page.stray)
            return check, page.unsealed

    check, tail = asyncio.run(ask())
    ids = [entry.entry_id for entry in tail]
    if as_json:
        told = {"holds": not check.faults, "faults": check.faults, "seals": check.seals}
        told |= {"entries": check.entries, "head": f"{check.seals}:{check.head.hex()}", "unsealed": ids}
        echo_json(told)
    else:
        for fault in check.faults:
            echo_lines(fault)
        echo_lines(f"sealed    {check.entries} entries under {check.seals} seals")
        echo_lines(f"head      {check.seals}:{check.head.hex()}")
        echo_lines(f"unsealed  {len(ids)}" + (f": entries {min(ids)} to {max(ids)}" if ids else ""))
        echo_lines("the log does not hold" if check.faults else "the log holds")
    return exits.ERROR if check.faults else exits.DEPLOYABLE


def _head(text: str | None) -> Head | None:
    if text is None:
        return None
    from edgeproof.lab.audit import Head

    match = _HEAD.match(text)
    if match is None:
        raise Refused("invalid_request", "a head is SEAL:HEX, as `audit verify` prints it")
    return Head(int(match[1]), match[2])
