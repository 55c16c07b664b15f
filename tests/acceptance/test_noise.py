"""``edgeproof runner noise`` on a real device: measured, shown, and remembered for later measurements."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .running_system import edgeproof, printed
from .tiny_models import TinyModels

pytestmark = pytest.mark.slow


def test_the_noise_floor_is_measured_shown_and_remembered(models: TinyModels, tmp_path: Path) -> None:
    home = tmp_path / "runner"
    result = edgeproof("runner", "noise", str(models.quick), "--home", str(home), "--threads", "1", "--json")
    assert result.returncode == 0, result
    floor = printed(result)
    assert set(floor["floor_pct"]) == {"p50", "p90", "mean", "p95", "p99"}
    assert all(percent > 0 for percent in floor["floor_pct"].values())
    assert floor["pairs"] in (8, 12, 16)
    assert json.loads((home / "noise.json").read_bytes()) == [floor]
    assert list((home / "work").iterdir()) == []


def test_a_model_that_is_not_there_is_said(tmp_path: Path) -> None:
    result = edgeproof("runner", "noise", str(tmp_path / "none.onnx"), "--home", str(tmp_path / "runner"))
    assert (result.returncode, result.stdout) == (1, "")
    assert "[artifact_missing]" in result.stderr
