"""``edgeproof compare``: two results that nobody signed, side by side, judged by the originals' rules."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from edgeproof.cli import exits
from edgeproof.cli.json_files import read_json_object
from edgeproof.cli.options import connection, json_option, server_options
from edgeproof.cli.printing import echo_json, echo_lines
from edgeproof.contract.errors import Refused
from edgeproof.contract.ids import digest_of_uri, is_id
from edgeproof.contract.point_policy import ThresholdChanges
from edgeproof.contract.stored_results import CompareRequest, PathLabels

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_OUT = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("base", metavar="BASELINE")
@click.argument("new", metavar="CANDIDATE")
@click.option("--guard", type=_FILE, help="Another guard's answer (JSON), of either generation.")
@click.option("--with-guard", is_flag=True, help="Ask our own guard.")
@click.option("--policy", default="inferedge-v1", show_default=True, help="A policy over single results.")
@click.option("--latency-improve-pct", type=float, help="Faster from here on, in %, inclusive.")
@click.option("--latency-regress-pct", type=float, help="Slower from here on, in %.")
@click.option("--accuracy-improve-pp", type=float, help="More accurate from here on, in percentage points.")
@click.option("--accuracy-regress-pp", type=float, help="Less accurate from here on.")
@click.option("--tradeoff-caution-pp", type=float, help="Across precisions: a loss to be careful of.")
@click.option("--tradeoff-risky-pp", type=float, help="Across precisions: a loss to review.")
@click.option("--tradeoff-severe-pp", type=float, help="Across precisions: a severe loss.")
@click.option("--markdown-out", type=_OUT, help="Also write the Markdown there.")
@click.option("--html-out", type=_OUT, help="Also write it as HTML there.")
@server_options
@json_option
@click.pass_context
def compare(
    context: click.Context,
    /,
    base: str,
    new: str,
    guard: Path | None,
    with_guard: bool,
    policy: str,
    markdown_out: Path | None,
    html_out: Path | None,
    server: str | None,
    token: str | None,
    data_dir: Path,
    as_json: bool,
    **thresholds: float | None,
) -> int:
    """Compare two runtime results: files, or ids or digests of kept ones; a job's id is its candidate's.

    Prints Markdown. Nobody signed these results, so whatever the decision says, the exit code is 3.
    Without --guard or --with-guard the decision is unknown: no guard was asked.
    """
    request = CompareRequest(
        base_result=result_or_reference(base),
        new_result=result_or_reference(new),
        guard_analysis=None if guard is None else read_json_object(guard),
        with_guard=with_guard,
        policy=policy,
        thresholds=ThresholdChanges(**thresholds),
        metadata=PathLabels(base_path=base, new_path=new),
    )
    connected = connection(context, server, token, data_dir)

    async def ask() -> dict[str, Any]:
        async with connected.client() as client:
            return await client.compare(request)

    bundle = asyncio.run(ask())
    rendered = bundle["comparison"]["rendered"]
    for path, text in ((markdown_out, rendered["markdown"]), (html_out, rendered["html"])):
        if path is not None:
            path.write_text(text, encoding="utf-8")
    if as_json:
        echo_json(bundle)
    else:
        echo_lines(*rendered["markdown"].removesuffix("\n").split("\n"))
    return exits.of_decision(bundle["deployment_decision"])


def result_or_reference(word: str) -> dict[str, Any] | str:
    """A file's content, else an id or digest. Raises ``Refused`` (``invalid_request``) for neither."""
    path = Path(word)
    if path.is_file():
        return read_json_object(path)
    if is_id(word) or digest_of_uri(word):
        return word
    raise Refused("invalid_request", f"{word} is neither a file nor a result's id or digest")
