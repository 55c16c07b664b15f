"""Which isolation level this machine has is found by trying, and what is found is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from edgeproof.app.doctor import examine
from edgeproof.app.install import unit_text
from edgeproof.cli.use_cases import InstallOptions
from edgeproof.runner.isolation import find
from edgeproof.runner.probe import ATTEMPTS


async def test_in_namespaces_a_probe_is_refused_everything() -> None:
    findings = await find()
    if findings.level != "namespaces":
        pytest.skip("this machine has no user namespaces")
    assert findings.refused == dict.fromkeys(ATTEMPTS, True)
    assert findings.reason == ""


def test_doctor_says_what_a_stage_was_refused(tmp_path: Path) -> None:
    report = examine(tmp_path)
    (check,) = [one for one in report.checks if one.name == "isolation"]
    assert check.detail.startswith(report.isolation)
    assert all(words in check.detail for words in ATTEMPTS.values())
    assert check.ok == (" could " not in check.detail)
    assert check.ok or check.remedy


NAMESPACE: Final = ("unshare", "--user", "--map-root-user", "--mount", "--propagation", "private")
READ_ONLY: Final = "mount -o remount,bind,ro /"
PROBE: Final = """
import asyncio, pathlib, sys
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.isolation import find
from edgeproof.runtime.host_lock import make_host_lock
RunnerHome(pathlib.Path(sys.argv[1]))
make_host_lock(pathlib.Path(sys.argv[2]))
try:
    pathlib.Path("/var/tmp/edgeproof-test").touch()
except OSError as error:
    print(asyncio.run(find()).level, error.strerror)
"""


async def test_the_service_finds_the_same_level_where_all_but_its_paths_is_read_only(tmp_path: Path) -> None:
    """In a mount namespace as systemd makes it of the unit: what is not in ReadWritePaths is read-only."""
    if subprocess.run([*NAMESPACE, "sh", "-c", READ_ONLY], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make a mount namespace")
    home = tmp_path / "home"
    home.mkdir()
    # That of tests lies where no service may keep its folder.
    installed = Path("/var/lib/edgeproof-runner")
    unit = unit_text(InstallOptions(home=installed, user="edgeproof-runner")).replace(
        str(installed), str(home)
    )
    (paths,) = [line.partition("=")[2] for line in unit.splitlines() if line.startswith("ReadWritePaths=")]
    writable = " && ".join(f"mount --rbind {path} {path}" for path in reversed(paths.split()))
    lock = Path("/tmp") / f"{tmp_path.name}.lock"
    words = ["sh", "-c", f'{writable} && {READ_ONLY} && exec "$@"', "sh", sys.executable, "-I", "-c", PROBE]
    found = subprocess.run(
        [*NAMESPACE, *words, str(home), str(lock)], cwd="/", capture_output=True, text=True, check=False
    )
    lock.unlink(missing_ok=True)
    assert found.stdout == f"{(await find()).level} Read-only file system\n", found.stderr
