"""``edgeproof runner …``: this machine as a runner, and tokens by which others join."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import msgspec

from edgeproof.cli import exits
from edgeproof.cli.device import FILE, default_home, home_option, install, join, status
from edgeproof.cli.durations import Duration
from edgeproof.cli.enrolments import tokens
from edgeproof.cli.labels import own_labels
from edgeproof.cli.options import connection, json_option, log_format_option, server_options
from edgeproof.cli.printing import echo_lines
from edgeproof.cli.use_cases import LogFormat, NoiseOptions, RunnerOptions, UseCases
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import Progress
from edgeproof.runtime.counters import waits_counted


@click.group()
def runner() -> None:
    """Run this machine as a runner; enrol others."""


for _command in (join, status, install, tokens):
    runner.add_command(_command)


@runner.command()
@click.argument("server", metavar="[URL#sha256:KEY]", required=False)
@home_option
@click.option("--token", help="Enrolment token, needed once.")
@click.option("--token-file", type=FILE, help="A file that holds the enrolment token.")
@click.option("--once", is_flag=True, help="Do one run, then end.")
@click.option("--max-runs", type=click.IntRange(1), help="Do so many runs, then end.")
@click.option("--isolation", type=click.Choice(["none", "rlimit", "namespaces"]),
              help="Exactly this level; default: the highest to be had.")  # fmt: skip
@click.option("--ca-file", type=FILE, help="CA certificates, PEM, to trust instead of the system's.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", callback=own_labels,
              envvar="EDGEPROOF_RUNNER_LABELS", help="Say more of this machine; repeatable.")  # fmt: skip
@click.option("--only", multiple=True, metavar="STAGE[/BACKEND]", envvar="EDGEPROOF_RUNNER_ONLY",
              help="Do nothing but this, e.g. forge or runtime/onnxruntime; repeatable.")  # fmt: skip
@click.option("--cache-bytes", type=click.IntRange(0), envvar="EDGEPROOF_RUNNER_CACHE_BYTES",
              help="Bound on fetched inputs and earlier builds; "
                   "default 16 GiB, less on a small disk.")  # fmt: skip
@click.option("--drain-seconds", type=Duration(0), default=300.0, show_default=True,
              envvar="EDGEPROOF_RUNNER_DRAIN_SECONDS",
              help="Time for a run under way to finish when asked to stop.")  # fmt: skip
@log_format_option
@click.option("--parent-pid", type=int, hidden=True)
@click.pass_obj
def start(
    use_cases: UseCases,
    server: str | None,
    home: Path,
    token: str | None,
    token_file: Path | None,
    once: bool,
    max_runs: int | None,
    isolation: str | None,
    ca_file: Path | None,
    labels: tuple[tuple[str, str], ...],
    only: tuple[str, ...],
    cache_bytes: int | None,
    drain_seconds: float,
    log_format: LogFormat,
    parent_pid: int | None,
) -> int:
    """Claim runs from a control plane and do them, until Ctrl-C. It dials out only.

    Without an argument it serves the control plane that was joined. Ctrl-C or SIGTERM lets the run under way
    finish, a second one hands it back.

    Exit code 78: it has joined no control plane, was not told its key, would dial it unprotected, is not
    allowed there, or cannot use its folder, its key, a proxy or certificates. Starting again does not help.
    """
    options = RunnerOptions(
        server=server,
        home=home,
        token=token or use_cases.token,
        token_file=token_file,
        max_runs=1 if once else max_runs,
        isolation=isolation,
        ca_file=ca_file,
        labels=labels,
        only=only,
        cache_bytes=cache_bytes,
        drain_seconds=drain_seconds,
        log_format=log_format,
        parent_pid=parent_pid,
    )
    try:
        use_cases.runner(options)
    except Refused as error:
        status = exits.of_start(error)
        if status == exits.ERROR:
            raise
        echo_lines(*exits.lines(error), err=True)
        return status
    return 0


@runner.command()
@click.argument("model", type=FILE)
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), default=default_home,
              show_default="~/.local/share/edgeproof-runner", help="Who remembers it.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1, 1024), help="Default: one for each physical core.")
@click.option("--batch", type=click.IntRange(1, 1_000_000), default=1, show_default=True)
@json_option
@click.pass_obj
def noise(
    use_cases: UseCases, model: Path, home: Path, threads: int | None, batch: int, as_json: bool
) -> None:
    """Measure this device's noise floor: MODEL (.onnx) against itself, by the protocol of every measurement.

    No latency margin tighter than the floor can be kept here. It is the median of up to three draws of the
    last day under these conditions (of two the wider), and this is one. A job draws again where there is
    none, where the device is busier, or where its verdict would not stand clear of the floor.
    """

    def report(progress: Progress) -> None:
        if not as_json:
            done = f"{progress.completed} of {progress.total} {progress.unit}"
            echo_lines(f"{progress.message}: {done}", err=True)

    floor = use_cases.noise(
        NoiseOptions(model=model, home=home, threads=threads or 0, batch=batch, on_progress=report)
    )
    if as_json:
        click.echo(msgspec.json.encode(floor).decode())
        return
    for metric, percent in floor.floor_pct.items():
        echo_lines(f"{metric} {percent:.3g} %")
    if waits_counted():
        echo_lines(f"blocks waited {100 * floor.background:.2g} % of their time for a processor")
    else:
        echo_lines("how long blocks waited for a processor this device does not tell")
    echo_lines(f"{floor.pairs} process pairs, conditions sha256:{floor.conditions}")


@runner.command()
@click.option("--uses", default=1, show_default=True, type=click.IntRange(1, 1000))
@click.option("--hours", default=1.0, show_default=True, type=Duration(0.01, 24 * 30))
@server_options
@json_option
@click.pass_context
def enrol(
    context: click.Context,
    uses: int,
    hours: float,
    server: str | None,
    token: str | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Make an enrolment token for another machine's runner. It is shown once, with the control plane's key.

    A control plane other than this machine's own must be named with its key, URL#sha256:KEY.
    """
    connected = connection(context, server, token, data_dir, admin=True, pinned=True)

    async def ask() -> tuple[str, str]:
        from edgeproof.contract.envelope import PublicKey

        async with connected.client() as client:
            key = PublicKey.from_base64((await client.health()).server_key)
            made = await client.create_enrolment_token(uses=uses, ttl_seconds=int(hours * 3600))
            return f"{client.address.url}#{key.fingerprint}", made

    address, enrolment = asyncio.run(ask())
    if as_json:
        click.echo(msgspec.json.encode({"server": address, "token": enrolment}).decode())
    else:
        echo_lines("On the other machine:", f"  edgeproof runner join {address} --token {enrolment}")
        echo_lines("  edgeproof runner start")
