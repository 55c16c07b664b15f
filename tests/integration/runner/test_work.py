"""A runner on a real disk that its own caches have filled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeproof.testing.small_disk import can_mount, with_small_disk

MIB = 1 << 20


def on_a_small_disk(disk: Path, left: int, where: str, preset: str) -> dict[str, Any]:
    script = [sys.executable, str(Path(__file__).with_name("on_a_small_disk.py"))]
    command = with_small_disk(disk, "32m", [*script, str(disk), str(left), where, preset])
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not can_mount(), reason="needs a mount namespace")
@pytest.mark.parametrize(
    ("left", "where", "preset"),
    [
        pytest.param(1 * MIB, "builds", "fp32", id="copying the input"),
        pytest.param(3 * MIB, "inputs", "fp32", id="lending the earlier build"),
        pytest.param(3 * MIB, "inputs", "source", id="building"),
    ],
)
def test_caches_that_fill_the_disk_fail_no_run(tmp_path: Path, left: int, where: str, preset: str) -> None:
    assert on_a_small_disk(tmp_path, left, where, preset) == {
        "state": "COMPLETE",
        "failures": [],
        "downloads": 2,
        "old": False,
        "work": [],
    }
