"""``edgeproof up``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from edgeproof.cli.durations import DAY, HOUR, Duration
from edgeproof.cli.options import data_dir_option, log_format_option
from edgeproof.cli.sizes import size
from edgeproof.cli.use_cases import LogFormat, UpOptions, UseCases
from edgeproof.contract.runners import STAGES

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_LEASE = Duration(1, 86_400)
_KEPT_DAYS = Duration(1, 3650, DAY)
_MOST_RUNS: Final = 1000


def _stage_leases(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, float], ...]:
    leases: dict[str, float] = {}
    for value in values:
        stage, _, text = value.partition("=")
        if stage not in STAGES or not text:
            raise click.BadParameter(f"{value!r} is not STAGE=SECONDS; stages: {', '.join(STAGES)}")
        if stage in leases:
            raise click.BadParameter(f"{stage} is said twice")
        leases[stage] = _LEASE.convert(text, parameter, context)
    return tuple(leases.items())


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
@click.option("--lease-seconds", default=90.0, show_default=True, type=_LEASE,
              help="A run is another runner's after so long without a word of its own.")  # fmt: skip
@click.option("--lease", "stage_leases", multiple=True, metavar="STAGE=SECONDS", callback=_stage_leases,
              help="Another time for the runs of one stage, e.g. runtime=300; repeatable.")  # fmt: skip
@click.option("--heartbeat-seconds", default=30.0, show_default=True, type=Duration(0.2, 86_400),
              help="How often a runner says that it works; at least thrice a lease.")  # fmt: skip
@click.option("--quarantine-after", metavar="N", type=click.IntRange(0, _MOST_RUNS),
              help="So many runs in a row ended by its own trouble quarantine a runner;"
                   " 0: never; default: 5.")  # fmt: skip
@click.option("--max-attempts", metavar="N", type=click.IntRange(1, _MOST_RUNS),
              help="Attempts at a run before it has failed; default: 3.")  # fmt: skip
@click.option("--upload-quota", metavar="SIZE", callback=size,
              help="Uploads that no job names yet, of one principal; default: 64GiB.")  # fmt: skip
@click.option("--keep-uploads-hours", type=Duration(1, 24 * 3650, HOUR),
              help="An upload that no job names is kept so long; default: 24.")  # fmt: skip
@click.option("--keep-events-days", type=_KEPT_DAYS,
              help="The events of ended jobs; default: 30.")  # fmt: skip
@click.option("--keep-idempotency-days", type=_KEPT_DAYS,
              help="Idempotency keys; default: 7.")  # fmt: skip
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
    stage_leases: tuple[tuple[str, float], ...],
    heartbeat_seconds: float,
    quarantine_after: int | None,
    max_attempts: int | None,
    upload_quota: int | None,
    keep_uploads_hours: float | None,
    keep_events_days: float | None,
    keep_idempotency_days: float | None,
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
            stage_lease_seconds=stage_leases,
            quarantine_after=quarantine_after,
            max_attempts=max_attempts,
            upload_quota_bytes=upload_quota,
            artifact_ttl_seconds=keep_uploads_hours,
            events_kept_seconds=keep_events_days,
            idempotency_kept_seconds=keep_idempotency_days,
            log_format=log_format,
            metrics_open=metrics_open,
            dev=dev,
            json=as_json,
            parent_pid=parent_pid,
        )
    )
