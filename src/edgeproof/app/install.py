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
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from jinja2 import Environment, StrictUndefined

from edgeproof.cli import exits
from edgeproof.cli.use_cases import InstallOptions
from edgeproof.contract.errors import Refused

UNIT: Final = Path("/etc/systemd/system/edgeproof-runner.service")
ENVIRONMENT: Final = Path("/etc/edgeproof/runner.env")
SYSTEMD: Final = Path("/run/systemd/system")
"""Is there where systemd is process 1 (``sd_booted``)."""
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


class Step(NamedTuple):
    words: str
    act: Callable[[], None]


def install_runner(options: InstallOptions) -> str:
    """What was, or would be, done, or the unit's text.

    Raises ``Refused`` before anything is changed; where a step fails all the same, it names those done.
    """
    unit = unit_text(options)
    if options.print_unit:
        return unit
    steps = _steps(options, unit)
    told = "".join(f"  {step.words}\n" for step in steps)
    join = f"sudo -u {options.user} {sys.executable} -m edgeproof runner join URL#sha256:KEY --token TOKEN"
    after = f"Then:\n  {join} --home {options.home}\n  systemctl enable --now {UNIT.stem}\n"
    lacking = lacks()
    if options.dry_run:
        return f"Would:\n{told}{after}" + (f"But not here: {', '.join(lacking)}.\n" if lacking else "")
    if lacking:
        raise Refused(
            "invalid_request",
            f"installing needs root and a running systemd, here: {', '.join(lacking)}; --print gives the "
            "unit for elsewhere",
        )
    carry_out(steps)
    return f"Done:\n{told}{after}"


def lacks(systemd: Path = SYSTEMD) -> list[str]:
    """What keeps a service from being installed here."""
    found = []
    if os.geteuid() != 0:
        found.append("this is not root")
    if shutil.which("systemctl") is None:
        found.append("there is no systemctl")
    if not systemd.is_dir():
        found.append(f"systemd does not run (no {systemd})")
    return found


def carry_out(steps: Iterable[Step]) -> None:
    """Raises ``Refused`` with the step that failed and those done before it, which stay done."""
    done: list[str] = []
    for step in steps:
        try:
            step.act()
        except (Refused, OSError, LookupError) as error:
            reason = error.detail if isinstance(error, Refused) else str(error)
            before = "; ".join(done) or "nothing"
            raise Refused(
                "invalid_request", f"{step.words}: {reason}. Done before, and left so: {before}"
            ) from error
        done.append(step.words)


def unit_text(options: InstallOptions) -> str:
    """The unit for this Python. Raises ``Refused`` (``invalid_request``) for what systemd could not run."""
    home, python = str(options.home), sys.executable
    if not _USER.fullmatch(options.user):
        raise Refused("invalid_request", f"{options.user!r} is no name for a system user")
    for path in (home, python):
        if not _PATH.fullmatch(path) or ".." in Path(path).parts:
            raise Refused("invalid_request", f"{path!r} cannot stand in a unit: use a plain absolute path")
    if _is_hidden(options.home) or _is_hidden(options.home.resolve()):
        raise Refused(
            "invalid_request",
            f"{home} lies where the service cannot keep a folder ({', '.join(_HIDDEN)}): give another "
            "--home, e.g. /var/lib/edgeproof-runner",
        )
    template = Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)  # noqa: S701 - no markup
    return template.from_string(TEMPLATE).render(
        user=options.user,
        home=home,
        python=python,
        environment=str(ENVIRONMENT),
        unit=UNIT.stem,
        final=f"{exits.USAGE} {exits.CONFIGURATION}",
    )


def _is_hidden(path: Path) -> bool:
    return any(path.is_relative_to(hidden) for hidden in _HIDDEN)


def demand_free(home: Path, user: str) -> None:
    """Raises ``Refused`` for a folder that holds what is another user's than the service's: to make it over
    would take it away."""
    try:
        owner = home.stat().st_uid
        if owner == _uid(user) or next(home.iterdir(), None) is None:
            return
    except FileNotFoundError:
        return
    except OSError as error:
        raise Refused("invalid_request", f"{home} cannot be looked at: {error.strerror}") from error
    raise Refused(
        "invalid_request", f"{home} is in use by another user (uid {owner}) than {user}: give another --home"
    )


def _steps(options: InstallOptions, unit: str) -> list[Step]:
    if _is_hidden(Path(sys.executable)):
        raise Refused(
            "invalid_request",
            f"{sys.executable} lies where the service's user cannot see it: install Edgeproof elsewhere, "
            "e.g. `python3 -m venv /opt/edgeproof`, and call `runner install` from there",
        )
    demand_free(options.home, options.user)
    steps = []
    if _uid(options.user) is None:
        command = ["useradd", "--system", "--no-create-home", "--home-dir", str(options.home),
                   "--shell", "/usr/sbin/nologin", options.user]  # fmt: skip
        steps.append(Step(f"make the user: {' '.join(command)}", lambda: _call(command)))
    steps.append(Step(f"make {options.home}, mode 0700", lambda: _make_home(options)))
    if not ENVIRONMENT.exists():
        steps.append(
            Step(f"write {ENVIRONMENT}, mode 0600", lambda: _write(ENVIRONMENT, ENVIRONMENT_TEXT, 0o600))
        )
    steps.append(Step(f"write {UNIT}", lambda: _write(UNIT, unit, 0o644)))
    steps.append(Step("systemctl daemon-reload", lambda: _call(["systemctl", "daemon-reload"])))
    return steps


def _uid(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


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
