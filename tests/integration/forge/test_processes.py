"""Builds in processes of their own: the same bytes everywhere, silence, and a full disk."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeproof.forge.presets import PRESETS

BUILD = """
import hashlib, json, sys
from datetime import UTC, datetime
from pathlib import Path
from edgeproof.contract.errors import StageFailed
from edgeproof.contract.statements import ForgeConfig
from edgeproof.forge.build import ForgeInputs, build

folder, workspace, presets = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
source, calibration = folder / "model.onnx", folder / "calibration.npz"
sha = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
answers = {}
for preset in presets:
    config = ForgeConfig(
        role="candidate", backend="onnxruntime", target="cpu", preset=preset, precision="unknown",
        source=sha(source), source_name="model.onnx", calibration=sha(calibration), input_shapes={},
        batch=1, height=None, width=None,
    )
    try:
        outcome = build(
            config, ForgeInputs(source, calibration), workspace, None,
            now=lambda: datetime.now(UTC), on_progress=lambda progress: None,
        )
        answers[preset] = [outcome.summary.build_id, outcome.summary.artifact_sha256]
    except StageFailed as error:
        answers[preset] = [error.code, error.fault]
Path(sys.argv[2] + ".json").write_text(json.dumps(answers))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of about 300 kB with branches, so that there is something to put in another order."""
    random = np.random.default_rng(5)
    weights = [
        numpy_helper.from_array((random.normal(size=(16, 16, 3, 3)) / 12).astype(np.float32), f"w{index}")
        for index in range(32)
    ]
    nodes, last = [], "image"
    for index in range(0, 32, 2):
        for branch in (index, index + 1):
            nodes.append(helper.make_node("Conv", [last, f"w{branch}"], [f"c{branch}"], pads=[1] * 4))
            nodes.append(helper.make_node("Relu", [f"c{branch}"], [f"r{branch}"]))
        nodes.append(helper.make_node("Add", [f"r{index}", f"r{index + 1}"], [f"a{index}"]))
        last = f"a{index}"
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["p"]))
    nodes.append(helper.make_node("Flatten", ["p"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "branches",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 16, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 16])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    images = random.normal(size=(8, 16, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "calibration.npz", image=images)
    return tmp_path


def build(folder: Path, name: str, *presets: str, seed: str = "0", max_file: int | None = None):
    def limit() -> None:
        if max_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (max_file, max_file))

    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder), str(folder / name), *presets],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        preexec_fn=limit,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    return json.loads((folder / f"{name}.json").read_text())


def test_the_same_bytes_whatever_the_hash_seed_and_not_a_word(folder):
    answers = [build(folder, f"w{seed}", *PRESETS, seed=seed) for seed in ("1", "2", "3")]
    assert answers[0] == answers[1] == answers[2]
    assert len({digest for _, digest in answers[0].values()}) == len(PRESETS)
    files = [sorted(path.name for path in (folder / f"w{seed}").rglob("*")) for seed in "12"]
    assert files[0] == files[1]
    for preset, (build_id, _) in answers[0].items():
        assert build_id.startswith(f"model-onnxruntime-{preset}-")


def test_no_space_left(folder):
    answers = build(folder, "full", *PRESETS, max_file=20_000)
    assert answers == {preset: ["disk_full", "device"] for preset in PRESETS}
    assert not list((folder / "full").iterdir())
