"""Presets: what a request resolves to, and that reading them needs no toolchain."""

from __future__ import annotations

import subprocess
import sys

from edgeproof.forge.presets import PRESETS


def test_only_static_int8_depends_on_the_machine():
    assert [name for name, preset in PRESETS.items() if preset.machine_bound] == ["int8_static"]
    assert all(preset.options.get("graph_optimization_level") != "all" for preset in PRESETS.values())


def test_presets_load_without_a_toolchain():
    code = (
        "import sys, edgeproof.forge.presets, edgeproof.forge.build, edgeproof.forge.toolchains;"
        "sys.exit(any(name in sys.modules for name in ('onnx', 'onnxruntime', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
