"""The systemd unit: what it says, what systemd thinks of it, and what is refused before it is written."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeproof.app.install import ENVIRONMENT, ENVIRONMENT_TEXT, UNIT, install_runner, unit_text
from edgeproof.cli.use_cases import InstallOptions
from edgeproof.contract.errors import Refused
from edgeproof.runtime.host_lock import HOST_LOCK

OPTIONS = InstallOptions(home=Path("/var/lib/edgeproof-runner"), user="edgeproof-runner")
UNKNOWN_BEFORE_254 = re.compile(r"Unknown key (name )?'Restart(Steps|MaxDelaySec)'")


def test_the_unit_names_its_user_its_home_and_this_python() -> None:
    lines = unit_text(OPTIONS).splitlines()
    assert "User=edgeproof-runner" in lines
    assert f"EnvironmentFile=-{ENVIRONMENT}" in lines
    start = f"ExecStart={sys.executable} -I -m edgeproof runner start --home /var/lib/edgeproof-runner"
    assert start in lines
    assert "Restart=always" in lines
    assert "NoNewPrivileges=yes" in lines


def test_what_an_operator_has_to_change_is_not_tried_again_and_the_rest_ever_later() -> None:
    lines = unit_text(OPTIONS).splitlines()
    assert "RestartPreventExitStatus=64 78" in lines
    assert "RestartMaxDelaySec=120" in lines


@pytest.mark.parametrize("taken_away", ["ProtectKernelTunables=", "ProtectKernelLogs=", "ProtectProc="])
def test_the_unit_leaves_stages_their_namespaces(taken_away: str) -> None:
    assert not [line for line in unit_text(OPTIONS).splitlines() if line.startswith(taken_away)]


def test_the_service_may_write_its_home_and_where_the_hosts_measuring_lock_lies() -> None:
    lines = unit_text(OPTIONS).splitlines()
    assert f"ReadWritePaths=/var/lib/edgeproof-runner {HOST_LOCK.parent}" in lines
    assert not [line for line in lines if line.startswith("PrivateTmp=")]


def test_the_unit_closes_no_device() -> None:
    closing = ("ProtectClock=", "PrivateDevices=", "DevicePolicy=", "DeviceAllow=")
    assert not [line for line in unit_text(OPTIONS).splitlines() if line.startswith(closing)]


def test_who_lengthens_the_drain_reads_what_else_to_lengthen() -> None:
    before, _, _ = ENVIRONMENT_TEXT.partition("#EDGEPROOF_RUNNER_DRAIN_SECONDS=")
    assert before.splitlines()[-1].startswith("# TimeoutStopSec=")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(unit_text(OPTIONS))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    unheard = [line for line in checked.stderr.splitlines() if not UNKNOWN_BEFORE_254.search(line)]
    assert (checked.returncode, unheard) == (0, [])


def test_printing_changes_nothing_and_gives_the_unit() -> None:
    text = install_runner(InstallOptions(home=OPTIONS.home, user=OPTIONS.user, print_unit=True))
    assert text == unit_text(OPTIONS)


@pytest.mark.parametrize(
    "changes",
    [
        {"user": "root\nExecStartPre=/bin/sh"},
        {"user": ""},
        {"home": Path("/var/lib/a b")},
        {"home": Path("relative")},
        {"home": Path("/var/lib/../../etc")},
        {"home": Path("/var/lib/%n")},
    ],
)
def test_what_a_unit_cannot_hold_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(Refused) as caught:
        unit_text(InstallOptions(**{"home": OPTIONS.home, "user": OPTIONS.user, **changes}))
    assert caught.value.code == "invalid_request"
