"""No process of ours tells anybody about the models it sees."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_CODE = """
import sys
import edgeproof
from edgeproof.runtime.backends import detect
assert detect()
import onnxruntime
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
"""


def test_onnx_runtime_keeps_no_device_id_and_no_events(tmp_path: Path, models: dict[str, Path]) -> None:
    """Both lie in the user's cache folder before anything is sent."""
    unsaid = ("ORT_DISABLE_TELEMETRY", "CI", "XDG_CACHE_HOME")
    told = {name: value for name, value in os.environ.items() if name not in unsaid}
    command = [sys.executable, "-B", "-c", _CODE, str(models["linear"])]
    subprocess.run(command, env={**told, "HOME": str(tmp_path)}, check=True, timeout=60)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
