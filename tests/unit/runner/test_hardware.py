"""Processor features and GPUs as this device tells them, and nothing where it does not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeproof.contract.runners import Gpu
from edgeproof.runner.hardware import cpu_features, gpus, installed_nvml


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("model name\t: x\nflags\t\t: fpu sse4_2 avx2 secret_thing\nflags\t: amx_int8\n", ("avx2", "sse4_2")),
        ("Features\t: fp asimd asimddp\n", ("asimd", "asimddp")),
        ("processor : 0\n", ()),
        ("", ()),
    ],
)
def test_features_are_the_first_processors(tmp_path: Path, text: str, features: tuple[str, ...]) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_features(tmp_path / "cpuinfo") == features


def test_where_nothing_tells_them_there_are_none(tmp_path: Path) -> None:
    assert cpu_features(tmp_path / "absent") == ()


class Driver:
    """An NVML with some GPUs; ``broken`` ones do not answer."""

    class NVMLError(Exception):
        pass

    def __init__(self, *names: str, broken: tuple[int, ...] = (), absent: bool = False) -> None:
        self._names = names
        self._broken = broken
        self._absent = absent
        self.open = 0

    def nvmlInit(self) -> None:
        if self._absent:
            raise self.NVMLError("no driver")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return "570.1"

    def nvmlDeviceGetCount(self) -> int:
        return len(self._names)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:
        if index in self._broken:
            raise self.NVMLError
        return index

    def nvmlDeviceGetName(self, handle: Any) -> str:
        return self._names[handle]

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:
        return SimpleNamespace(total=8 << 30)

    def nvmlDeviceGetCudaComputeCapability(self, handle: Any) -> tuple[int, int]:
        return (9, 0)


def test_each_gpu_that_answers_is_told(caplog: pytest.LogCaptureFixture) -> None:
    driver = Driver("one", "two", broken=(0,))
    expected = Gpu(name="two", memory_bytes=8 << 30, driver="570.1", compute_capability="9.0")
    assert gpus(driver) == (expected,)
    assert driver.open == 0
    (line,) = caplog.messages
    assert line.startswith("GPU 0 does not answer")


def test_no_binding_and_no_driver_are_no_gpu(caplog: pytest.LogCaptureFixture) -> None:
    assert gpus(None) == ()
    assert caplog.messages == []
    assert gpus(Driver(absent=True)) == ()
    assert caplog.messages == ["NVML is installed but fails, so no GPU is offered: no driver"]


def test_the_real_binding_is_asked_in_its_own_words() -> None:
    """With or without a GPU here: it has every call that is used, and does not raise."""
    binding = installed_nvml()
    if binding is None:
        pytest.skip("the extra `nvidia` is not installed")
    used = [name for name in vars(Driver) if name.startswith("nvml")]
    assert all(callable(getattr(binding, name)) for name in used)
    assert isinstance(gpus(binding), tuple)
