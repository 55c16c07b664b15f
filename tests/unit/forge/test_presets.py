"""Presets: what a request resolves to, and that reading them needs no toolchain."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgeproof.contract.errors import Refused
from edgeproof.forge.presets import PRESETS, resolve_preset


@pytest.mark.parametrize(
    ("preset", "precision", "has_calibration", "name"),
    [
        (None, None, False, "source"),
        (None, None, True, "source"),
        (None, "fp32", False, "fp32"),
        (None, "fp16", True, "fp16"),
        (None, "int8", False, "int8_dynamic"),
        (None, "int8", True, "int8_static"),
        ("int8_dynamic", None, True, "int8_dynamic"),
        ("source", "int8", False, "source"),
    ],
)
def test_resolution(preset, precision, has_calibration, name):
    assert resolve_preset(preset, precision, has_calibration).name == name


@pytest.mark.parametrize(
    ("preset", "precision", "code"),
    [
        ("int8", None, "unknown_preset"),
        ("", None, "unknown_preset"),
        (None, "bf16", "unknown_precision"),
        (None, "FP32", "unknown_precision"),
        (None, "unknown", "unknown_precision"),
        ("int8_static", None, "calibration_required"),
    ],
)
def test_refusals(preset, precision, code):
    with pytest.raises(Refused) as caught:
        resolve_preset(preset, precision, has_calibration=False)
    assert caught.value.code == code


def test_only_static_int8_depends_on_the_machine():
    assert [name for name, preset in PRESETS.items() if preset.machine_bound] == ["int8_static"]
    assert all(preset.options.get("graph_optimization_level") != "all" for preset in PRESETS.values())


def test_presets_load_without_a_toolchain():
    code = (
        "import sys, edgeproof.forge.presets, edgeproof.forge.build, edgeproof.forge.toolchains;"
        "sys.exit(any(name in sys.modules for name in ('onnx', 'onnxruntime', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
