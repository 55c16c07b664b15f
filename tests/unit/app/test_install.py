"""The systemd unit: what it says, what systemd thinks of it, and what is refused before it is written."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeproof.app import install
from edgeproof.app.install import (
    ENVIRONMENT,
    ENVIRONMENT_TEXT,
    UNIT,
    Step,
    carry_out,
    demand_free,
    install_runner,
    lacks,
    unit_text,
)
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
        {"home": Path("/home/bob/runner")},
        {"home": Path("/root")},
        {"home": Path("/tmp/runner")},
    ],
)
def test_what_a_unit_cannot_hold_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(Refused) as caught:
        unit_text(InstallOptions(**{"home": OPTIONS.home, "user": OPTIONS.user, **changes}))
    assert caught.value.code == "invalid_request"


def test_a_home_that_leads_where_the_service_sees_nothing_is_refused() -> None:
    link = Path("/dev/shm") / f"edgeproof-{os.getpid()}"
    link.symlink_to("/root")
    try:
        with pytest.raises(Refused, match="cannot keep a folder"):
            unit_text(InstallOptions(home=link / "runner", user="edgeproof-runner"))
    finally:
        link.unlink()


def test_a_folder_in_use_by_another_user_is_refused(tmp_path: Path) -> None:
    me = pwd.getpwuid(os.geteuid()).pw_name
    demand_free(tmp_path, "edgeproof-nobody")
    demand_free(tmp_path / "missing", "edgeproof-nobody")
    (tmp_path / "file").write_text("somebody's")
    demand_free(tmp_path, me)
    for user in ("nobody", "edgeproof-nobody"):
        with pytest.raises(Refused, match=f"{tmp_path} is in use by another user"):
            demand_free(tmp_path, user)
    with pytest.raises(Refused, match="Not a directory"):
        demand_free(tmp_path / "file" / "home", me)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """This Python lies where a service can run it."""
    monkeypatch.setattr(sys, "executable", "/opt/edgeproof/bin/python")


@pytest.mark.usefixtures("elsewhere")
def test_a_folder_of_the_system_is_refused() -> None:
    with pytest.raises(Refused, match="/etc is in use by another user"):
        install_runner(InstallOptions(home=Path("/etc"), user="edgeproof-nobody", dry_run=True))


def test_systemd_has_to_run(tmp_path: Path) -> None:
    assert f"systemd does not run (no {tmp_path / 'none'})" in lacks(tmp_path / "none")
    assert not [one for one in lacks(tmp_path) if "run" in one]


@pytest.mark.usefixtures("elsewhere")
def test_a_dry_run_says_what_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    options = InstallOptions(home=OPTIONS.home, user=OPTIONS.user, dry_run=True)
    monkeypatch.setattr(install, "lacks", lambda: ["systemd does not run"])
    assert install_runner(options).endswith("\nBut not here: systemd does not run.\n")
    monkeypatch.setattr(install, "lacks", list)
    assert "But not here" not in install_runner(options)


def test_where_something_is_lacking_no_step_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(install, "lacks", lambda: ["systemd does not run"])
    monkeypatch.setattr(install, "_steps", lambda *_: [Step("one", lambda: done.append("one"))])
    with pytest.raises(Refused, match="systemd does not run; --print gives the unit"):
        install_runner(OPTIONS)
    assert done == []


@pytest.mark.parametrize("error", [Refused("invalid_request", "no"), OSError("no"), LookupError("no")])
def test_a_step_that_fails_is_named_with_those_done_before(error: Exception) -> None:
    done: list[str] = []

    def fail() -> None:
        raise error

    first, failing = Step("make the user", lambda: done.append("user")), Step("make the folder", fail)
    last = Step("write the unit", lambda: done.append("unit"))
    with pytest.raises(Refused, match=r"make the folder: no\. Done before, and left so: make the user$"):
        carry_out([first, failing, last])
    with pytest.raises(Refused, match=r"left so: nothing$"):
        carry_out([failing])
    assert done == ["user"]
