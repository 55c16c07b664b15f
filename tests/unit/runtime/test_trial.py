"""What a backend runs is found by trying, and an engine that cannot, or breaks, is believed in nothing."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edgeproof.runtime import backends
from edgeproof.runtime.onnxruntime_cpu import OnnxRuntimeCpu
from edgeproof.runtime.trial import names_that_ran

from .trial_models import models

REFERENCE = backends.reference("onnxruntime")

ENGINE = '''
"""A backend as a plugin would have it."""

import os
from pathlib import Path

from edgeproof.runtime.port import Trial


class Bound:
    def __init__(self, ends):
        self._ends = ends

    def call(self):
        if self._ends:
            raise RuntimeError("no kernel")


class Session:
    inputs = ()

    def __init__(self, name):
        self._name = name

    def bind(self, feed):
        return Bound(self._name == "fp16")


class Engine:
    name = "engine"
    targets = ("npu",)
    trials = tuple(Trial(name, name, Path(name)) for name in ("fp32", "fp16", "int8"))

    def prepare(self):
        {prepare}

    def load(self, artifact, threads):
        if artifact.name == "int8":
            raise ValueError("not this one")
        return Session(artifact.name)
'''


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that the child can import, with a backend in it."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "trial_engine.py"


def test_the_trial_models_are_the_ones_described() -> None:
    for trial in OnnxRuntimeCpu.trials:
        kept = onnx.load(trial.model)
        onnx.checker.check_model(kept, full_check=True)
        assert kept == models()[trial.name], "run: python tests/unit/runtime/trial_models.py"
    assert {trial.name for trial in OnnxRuntimeCpu.trials} == set(models())


def test_onnx_runtime_runs_all_of_them_here() -> None:
    assert names_that_ran(REFERENCE) == {"fp32", "fp16", "int8_dynamic", "int8_static"}
    (found,) = [one for one in backends.detect() if one.name == "onnxruntime"]
    assert found.precisions == ("fp16", "fp32", "int8")
    assert found.quantizations == ("int8_dynamic", "int8_static")


def test_what_does_not_load_or_does_not_run_is_not_had(engine: Path) -> None:
    engine.write_text(ENGINE.replace("{prepare}", "print('what an engine says')"))
    assert names_that_ran("trial_engine:Engine") == {"fp32"}


@pytest.mark.parametrize(
    "prepare",
    ["os._exit(3)", "os._exit(0)", "os.kill(os.getpid(), 9)", "raise ImportError('no engine')"],
)
def test_an_engine_that_breaks_runs_nothing_and_that_is_logged(
    engine: Path, prepare: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine.write_text(ENGINE.replace("{prepare}", prepare))
    assert names_that_ran("trial_engine:Engine") == frozenset()
    assert "trial_engine:Engine" in caplog.text


def test_an_engine_that_hangs_is_not_waited_for(engine: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine.write_text(ENGINE.replace("{prepare}", "import threading; threading.Event().wait()"))
    assert names_that_ran("trial_engine:Engine", seconds=0.2) == frozenset()
    assert "timed out" in caplog.text


def test_a_backend_that_is_not_installed_runs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert names_that_ran("no_such_module:Engine") == frozenset()
    assert "no_such_module" in caplog.text
