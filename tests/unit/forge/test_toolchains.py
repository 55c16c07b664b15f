"""Toolchains are found by entry point."""

from __future__ import annotations

import onnxruntime
import pytest

from edgeproof.contract.errors import StageFailed
from edgeproof.forge.toolchains import detect_toolchains, load_toolchain


def test_what_this_machine_can_build():
    found = {one.name: one for one in detect_toolchains()}["onnxruntime"]
    assert found.version == onnxruntime.__version__
    assert found.targets == ("cpu",)
    assert found.precisions == ("fp16", "fp32", "int8")
    assert found.quantizations == ("int8_dynamic", "int8_static")


def test_a_toolchain_nobody_registered():
    with pytest.raises(StageFailed) as caught:
        load_toolchain("tensorrt")
    assert caught.value.code == "unknown_backend"
    assert caught.value.fault == "backend"
