"""``edgeproof up``."""

from __future__ import annotations

from pathlib import Path

import click

from edgeproof.cli.options import data_dir_option, log_format_option
from edgeproof.cli.use_cases import LogFormat, UpOptions, UseCases

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@data_dir_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0 picks one.")
@click.option("--public-url", help="How runners reach it, where that is not http(s)://HOST:PORT.")
@click.option("--tls-cert", type=_FILE, help="Certificate chain, PEM. Required off loopback.")
@click.option("--tls-key", type=_FILE, help="Its private key, PEM.")
@click.option("--behind-tls-proxy", is_flag=True, help="A proxy in front of it ends TLS.")
@click.option("--no-runner", is_flag=True, help="Do not start a runner on this machine.")
@click.option("--runner-keys", type=_FILE, envvar="EDGEPROOF_RUNNER_KEYS",
              help="Runner keys to allow, one a line; read at each start.")  # fmt: skip
@click.option("--lease-seconds", default=90.0, show_default=True, type=click.FloatRange(1))
@click.option("--heartbeat-seconds", default=30.0, show_default=True, type=click.FloatRange(0.2))
@log_format_option
@click.option("--metrics-open", is_flag=True, help="Let anybody read /metrics, not admins alone.")
@click.option("--dev", is_flag=True, help="For development: users may complete jobs by hand, unsigned.")
@click.option("--json", "as_json", is_flag=True, help="Print the address as JSON once it is up.")
@click.option("--parent-pid", type=int, hidden=True)
@click.pass_obj
def up(
    use_cases: UseCases,
    data_dir: Path,
    host: str,
    port: int,
    public_url: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    behind_tls_proxy: bool,
    no_runner: bool,
    runner_keys: Path | None,
    lease_seconds: float,
    heartbeat_seconds: float,
    log_format: LogFormat,
    metrics_open: bool,
    dev: bool,
    as_json: bool,
    parent_pid: int | None,
) -> None:
    """Start PostgreSQL, the control plane and a runner on this machine, until Ctrl-C, which is exit 0.

    EDGEPROOF_DATABASE_URL names your own PostgreSQL; without it an embedded one lives in the data folder.
    """
    use_cases.up(
        UpOptions(
            data_dir=data_dir,
            host=host,
            port=port,
            public_url=public_url,
            tls_cert=tls_cert,
            tls_key=tls_key,
            behind_tls_proxy=behind_tls_proxy,
            runners=0 if no_runner else 1,
            runner_keys=runner_keys,
            lease_seconds=lease_seconds,
            heartbeat_seconds=heartbeat_seconds,
            log_format=log_format,
            metrics_open=metrics_open,
            dev=dev,
            json=as_json,
            parent_pid=parent_pid,
        )
    )
