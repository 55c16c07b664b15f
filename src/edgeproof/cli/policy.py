"""``edgeproof policy …``: what the operator keeps, and a look at a file before it is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from edgeproof.cli.options import connection, json_option, server_options
from edgeproof.cli.printing import echo_json, echo_lines
from edgeproof.contract.canonical import digest_of
from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import Policy

_FILE = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
_MOST_BYTES = 1 << 20


@click.group()
def policy() -> None:
    """List, show, add and check decision policies."""


@policy.command(name="list")
@server_options
@json_option
@click.pass_context
def list_(
    context: click.Context, server: str | None, token: str | None, data_dir: Path, as_json: bool
) -> None:
    """The operator's policies, newest version first."""
    connected = connection(context, server, token, data_dir)

    async def ask() -> Any:
        async with connected.client() as client:
            return await client.policies()

    found = asyncio.run(ask())
    if as_json:
        echo_json(found)
        return
    from rich.table import Table

    from edgeproof.cli.terminal import Terminal

    table = Table("policy", "version", "digest", "added by", "added", box=None)
    for one in found.policies:
        table.add_row(one.name, str(one.version), f"sha256:{one.digest}", one.added_by, one.added_at)
    Terminal(soft_wrap=True).print(table)


@policy.command()
@click.argument("name", metavar="NAME|DIGEST")
@server_options
@json_option
@click.pass_context
def show(
    context: click.Context, name: str, server: str | None, token: str | None, data_dir: Path, as_json: bool
) -> None:
    """One policy: its gates and rules. A name is its newest version."""
    connected = connection(context, server, token, data_dir)

    async def ask() -> Any:
        async with connected.client() as client:
            return await client.policy(name)

    _print(asyncio.run(ask()), as_json)


@policy.command()
@_FILE
@server_options
@json_option
@click.pass_context
def add(
    context: click.Context, file: Path, server: str | None, token: str | None, data_dir: Path, as_json: bool
) -> None:
    """Keep the policy in FILE (TOML), for jobs to name. For admins."""
    checked = read_policy(file)
    connected = connection(context, server, token, data_dir, admin=True)
    _warn(checked)

    async def ask() -> Any:
        async with connected.client() as client:
            return await client.add_policy(checked)

    _print(asyncio.run(ask()), as_json)


@policy.command()
@_FILE
@json_option
def check(file: Path, as_json: bool) -> None:
    """Check the policy in FILE (TOML), offline. Exits 1 and names every fault.

    What is valid but holds back less than it seems is a warning: a gate that can never be certified, or a
    regression that is deployed.
    """
    from edgeproof.lab.policies.cautions import cautions

    checked = read_policy(file)
    if as_json:
        found = tuple(cautions(checked))
        echo_json({"digest": digest_of(checked), "policy": checked, "warnings": found})
    else:
        _describe(checked, digest_of(checked))
        _warn(checked)


def read_policy(file: Path) -> Policy:
    """The checked policy in a TOML file. Raises ``Refused`` (``policy_invalid``)."""
    from edgeproof.lab.policies import parse_policy

    if file.stat().st_size > _MOST_BYTES:
        raise Refused("policy_invalid", f"{file.name} is larger than any policy")
    try:
        return parse_policy(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise Refused("policy_invalid", f"{file.name} is not UTF-8 text") from error


def _warn(policy: Policy) -> None:
    from edgeproof.lab.policies.cautions import cautions

    for one in cautions(policy):
        echo_lines(f"warning: {one.path}: {one.message}", err=True)


def _print(view: Any, as_json: bool) -> None:
    if as_json:
        echo_json(view)
    else:
        _describe(view.policy, view.info.digest)


def _describe(one: Policy, digest: str) -> None:
    looks = ", ".join(str(look) for look in one.latency.looks)
    echo_lines(f"policy    {one.name} version {one.version}", f"digest    sha256:{digest}")
    echo_lines(f"isolation at least {one.min_isolation}")
    echo_lines(f"latency   looks at {looks} process pairs, {100 * one.latency.confidence:g} % in all")
    for gate in one.latency.gates:
        echo_lines(f"  gate    {gate.metric} at most {gate.margin_pct:g} % slower")
    echo_lines(f"accuracy  at most {one.accuracy.margin_pp:g} pp lost, {100 * one.accuracy.confidence:g} %")
    echo_lines(
        f"agreement top-1 {one.agreement.min_top1:g}, cosine {one.agreement.min_cosine:g}, "
        f"relative error {one.agreement.max_relative_error:g}"
    )
    echo_lines("rules")
    for rule in one.rules:
        facts = " and ".join(f"{fact} is {' or '.join(values)}" for fact, values in rule.when.items())
        echo_lines(f"  {rule.decision:<20} {rule.id}: {facts or 'always'}")
