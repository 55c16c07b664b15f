"""``edgeproof runner join|status|install``: this machine as a runner before and beside its work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click
import msgspec

from edgeproof.cli.options import json_option
from edgeproof.cli.printing import echo_lines
from edgeproof.cli.use_cases import InstallOptions, JoinOptions, RunnerStatusReport, UseCases

FILE: Final = click.Path(path_type=Path, dir_okay=False)
SERVICE_USER: Final = "edgeproof-runner"
SERVICE_HOME: Final = Path("/var/lib/edgeproof-runner")


def default_home() -> Path:
    return Path.home() / ".local" / "share" / "edgeproof-runner"


def _token_in(context: click.Context, parameter: click.Parameter, file: Path | None) -> str | None:
    """What ``file`` holds."""
    try:
        return None if file is None else file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise click.BadParameter(f"{file}: {error.strerror}", context, parameter) from error
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"{file} holds no token", context, parameter) from error


home_option = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_home,
    show_default="~/.local/share/edgeproof-runner",
    envvar="EDGEPROOF_RUNNER_HOME",
    help="Key, caches and outbox.",
)


@click.command()
@click.argument("server", metavar="URL#sha256:KEY")
@home_option
@click.option("--token", help="Enrolment token; none is needed for a key that is allowed already.")
@click.option("--token-file", type=FILE, callback=_token_in, help="A file that holds the enrolment token.")
@click.option("--ca-file", type=FILE, help="CA certificates, PEM, to trust instead of the system's.")
@click.option("--replace", is_flag=True, help="Leave the control plane joined before.")
@json_option
@click.pass_obj
def join(
    use_cases: UseCases,
    server: str,
    home: Path,
    token: str | None,
    token_file: str | None,
    ca_file: Path | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Make this machine a runner of a control plane; then `edgeproof runner start` needs no arguments.

    The control plane is named with its key's fingerprint, as `edgeproof up` and `runner enrol` print it. On
    a terminal a missing one is asked for.
    """
    if "#" not in server and sys.stdin.isatty():
        found = click.prompt("The control plane's key, as `edgeproof up` printed it (sha256:…)").strip()
        server = f"{server}#{found}"
    report = use_cases.join(
        JoinOptions(
            server=server,
            home=home,
            token=token_file or token or use_cases.token,
            ca_file=ca_file,
            replace=replace,
        )
    )
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
        return
    echo_lines(f"Joined {report.server}", f"as {report.runner_id}, key {report.key}")
    echo_lines(f"Isolation: {report.isolation}. Now: edgeproof runner start")


@click.command()
@home_option
@json_option
@click.pass_obj
def status(use_cases: UseCases, home: Path, as_json: bool) -> None:
    """What this machine's runner is and does, told from its folder; asks no control plane."""
    report = use_cases.runner_status(home)
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
        return
    run = report.run
    doing = f"{run.stage} {run.run_id} (attempt {run.attempt}, since {run.since})" if run else "nothing"
    state = f"running, process {report.pid}" if report.running else "not running"
    rows = {
        "runner": report.runner_id or "not registered yet",
        "key": report.key,
        "public key": report.public_key,
        "server": report.server or "none joined",
        "state": state + (", draining" if report.draining else ""),
        "standing": _standing(report),
        "doing": doing,
        "undelivered": ", ".join(report.undelivered) or "none",
        "cache": f"{report.cache_bytes / (1 << 20):.1f} MiB",
        "isolation": report.isolation,
        "last contact": report.last_contact_at or "never",
    }
    for name, value in rows.items():
        echo_lines(f"{name:<13}{value}")


def _standing(report: RunnerStatusReport) -> str:
    if report.standing in (None, "active"):
        return report.standing or "not told yet"
    return f"{report.standing}, until `edgeproof fleet release {report.runner_id}`"


@click.command()
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), default=SERVICE_HOME,
              show_default=True, help="Key, caches and outbox of the service.")  # fmt: skip
@click.option("--user", default=SERVICE_USER, show_default=True, help="Its own user, made if missing.")
@click.option("--print", "print_unit", is_flag=True, help="Print the unit and change nothing.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and change nothing.")
@click.pass_obj
def install(use_cases: UseCases, home: Path, user: str, print_unit: bool, dry_run: bool) -> None:
    """Install the runner as a systemd service of its own user. Needs root."""
    click.echo(
        use_cases.install_runner(
            InstallOptions(home=home, user=user, print_unit=print_unit, dry_run=dry_run)
        ),
        nl=False,
    )
