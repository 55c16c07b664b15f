"""``edgeproof runner install``: the runner as a systemd service of its own user.

The unit hardens what it can without taking the runner's own confinement away: stages get namespaces of their
own, and mounting a fresh ``/proc`` in one needs a host ``/proc`` that nothing covers. So
``ProtectKernelTunables``, ``ProtectKernelLogs`` and ``ProtectProc`` are left out on purpose. So is
``PrivateTmp``: the measuring lock in ``/tmp`` is one for the whole host; and ``ProtectClock``, which on some
systems closes every device, GPUs among them: without capabilities nobody sets the clock anyway.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from jinja2 import Environment, StrictUndefined

from edgeproof.cli import exits
from edgeproof.cli.use_cases import InstallOptions
from edgeproof.contract.errors import Refused

UNIT: Final = Path("/etc/systemd/system/edgeproof-runner.service")
ENVIRONMENT: Final = Path("/etc/edgeproof/runner.env")
_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_PATH: Final = re.compile(r"/[A-Za-z0-9._/+-]+")
_HIDDEN: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - compared, not used

TEMPLATE: Final = """\
[Unit]
Description=Edgeproof runner
Documentation=https://github.com/edgeproof/edgeproof
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
User={{ user }}
Group={{ user }}
EnvironmentFile=-{{ environment }}
ExecStart={{ python }} -I -m edgeproof runner start --home {{ home }}
# Wrong usage (64) and what an operator has to change (78) do not mend themselves; everything else may.
Restart=always
RestartSec=5
RestartPreventExitStatus={{ final }}
# Ever longer between restarts; systemd before 254 warns of these two and keeps to RestartSec.
RestartSteps=6
RestartMaxDelaySec=120
# The runner hands its run back after EDGEPROOF_RUNNER_DRAIN_SECONDS (300); its stages end with it. Whoever
# raises that raises this too, to a minute more, by `systemctl edit {{ unit }}`.
KillMode=mixed
TimeoutStopSec=360

UMask=0077
ReadWritePaths={{ home }} /tmp
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
ProtectControlGroups=yes
ProtectKernelModules=yes
ProtectHostname=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=user mnt pid net ipc
SystemCallArchitectures=native
SystemCallFilter=@system-service @mount unshare
SystemCallErrorNumber=EPERM
TasksMax=4096

[Install]
WantedBy=multi-user.target
"""

ENVIRONMENT_TEXT: Final = """\
# Read by edgeproof-runner.service. HTTPS_PROXY and NO_PROXY are honoured, too.
#EDGEPROOF_RUNNER_LABELS=site=lab rack=3
#EDGEPROOF_RUNNER_ONLY=runtime/onnxruntime
#EDGEPROOF_RUNNER_CACHE_BYTES=17179869184
# systemd kills the runner after 360 s: for more than 300 here, `systemctl edit edgeproof-runner` and set
# TimeoutStopSec= in its [Service] to a minute more.
#EDGEPROOF_RUNNER_DRAIN_SECONDS=300
"""


class _Step(NamedTuple):
    words: str
    act: Callable[[], None]


def install_runner(options: InstallOptions) -> str:
    """What was, or would be, done, or the unit's text. Raises ``Refused`` before anything is changed."""
    unit = unit_text(options)
    if options.print_unit:
        return unit
    steps = _steps(options, unit)
    told = "".join(f"{step.words}\n" for step in steps)
    join = f"sudo -u {options.user} {sys.executable} -m edgeproof runner join URL#sha256:KEY --token TOKEN"
    after = f"Then:\n  {join} --home {options.home}\n  systemctl enable --now {UNIT.stem}\n"
    if options.dry_run:
        return f"Would:\n{told}{after}"
    if os.geteuid() != 0 or shutil.which("systemctl") is None:
        raise Refused("invalid_request", "installing needs root and systemd; see --print and --dry-run")
    for step in steps:
        step.act()
    return f"Done:\n{told}{after}"


def unit_text(options: InstallOptions) -> str:
    """The unit for this Python. Raises ``Refused`` (``invalid_request``) for what systemd could not run."""
    home, python = str(options.home), sys.executable
    if not _USER.fullmatch(options.user):
        raise Refused("invalid_request", f"{options.user!r} is no name for a system user")
    for path in (home, python):
        if not _PATH.fullmatch(path) or ".." in Path(path).parts:
            raise Refused("invalid_request", f"{path!r} cannot stand in a unit: use a plain absolute path")
    template = Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)  # noqa: S701 - no markup
    return template.from_string(TEMPLATE).render(
        user=options.user,
        home=home,
        python=python,
        environment=str(ENVIRONMENT),
        unit=UNIT.stem,
        final=f"{exits.USAGE} {exits.CONFIGURATION}",
    )


def _steps(options: InstallOptions, unit: str) -> list[_Step]:
    if sys.executable.startswith(tuple(f"{one}/" for one in _HIDDEN)):
        raise Refused(
            "invalid_request",
            f"{sys.executable} lies where the service's user cannot see it: install Edgeproof elsewhere, "
            "e.g. `python3 -m venv /opt/edgeproof`, and call `runner install` from there",
        )
    steps = []
    if not _exists(options.user):
        command = ["useradd", "--system", "--no-create-home", "--home-dir", str(options.home),
                   "--shell", "/usr/sbin/nologin", options.user]  # fmt: skip
        steps.append(_Step(f"  make the user: {' '.join(command)}", lambda: _call(command)))
    steps.append(_Step(f"  make {options.home}, mode 0700", lambda: _make_home(options)))
    if not ENVIRONMENT.exists():
        steps.append(
            _Step(f"  write {ENVIRONMENT}, mode 0600", lambda: _write(ENVIRONMENT, ENVIRONMENT_TEXT, 0o600))
        )
    steps.append(_Step(f"  write {UNIT}", lambda: _write(UNIT, unit, 0o644)))
    steps.append(_Step("  systemctl daemon-reload", lambda: _call(["systemctl", "daemon-reload"])))
    return steps


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _make_home(options: InstallOptions) -> None:
    options.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.chown(options.home, options.user, options.user)


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text)
    temporary.chmod(mode)
    temporary.replace(path)


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused("invalid_request", f"{' '.join(command)}: {done.stderr.strip()}")
