"""What keeps a noise floor from being measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeproof.app.noise import measure_noise
from edgeproof.cli.use_cases import NoiseOptions
from edgeproof.contract.errors import Refused
from edgeproof.runner.home import RunnerHome


def refusal(model: Path, home: Path) -> Refused:
    with pytest.raises(Refused) as refused:
        measure_noise(NoiseOptions(model=model, home=home, threads=1, batch=1, on_progress=lambda _: None))
    return refused.value


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"model")
    return path


def test_a_folder_that_cannot_be_made(model: Path) -> None:
    assert refusal(model, model / "home").code == "home_unusable"


def test_a_folder_that_takes_no_workspace(model: Path, tmp_path: Path) -> None:
    home = RunnerHome(tmp_path / "home")
    home.work.rmdir()
    home.work.symlink_to("/proc")
    error = refusal(model, tmp_path / "home")
    assert error.code == "home_unusable"
    assert str(home.root) in error.detail
