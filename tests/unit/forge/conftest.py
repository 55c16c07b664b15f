"""Small real models, and one call that builds from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeproof.contract.jobs import Progress
from edgeproof.contract.statements import ForgeConfig
from edgeproof.forge.build import ForgeInputs, ForgeOutcome, build
from edgeproof.forge.cache import BuildCache, file_sha256

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def cnn(height: int | str = 8, batch: int | str = "N", opset: int = 17) -> onnx.ModelProto:
    """Conv, Relu, pool, Gemm: [batch, 1, height, 8] float → [batch, 3]."""
    random = np.random.default_rng(7)
    weights = {
        "w1": random.normal(size=(4, 1, 3, 3)),
        "b1": random.normal(size=4),
        "w2": random.normal(size=(3, 4)),
        "b2": random.normal(size=3),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["scores"], name="gemm", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "cnn",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 1, height, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name="tests"
    )


def one_node(
    op: str, domain: str = "", opset: int = 17, kind: int = TensorProto.FLOAT, **attributes: Any
) -> onnx.ModelProto:
    """[2, 2] → one node → an output of the same type and shape."""
    imports = [helper.make_opsetid("", opset)]
    if domain:
        imports.append(helper.make_opsetid(domain, 1))
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], domain=domain, **attributes)],
        "one",
        [helper.make_tensor_value_info("x", kind, [2, 2])],
        [helper.make_tensor_value_info("y", kind, [2, 2])],
    )
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


@dataclass
class Forge:
    """Builds in one temporary folder, with a clock that moves a minute per reading."""

    folder: Path
    progress: list[Progress] = field(default_factory=list)
    _count: int = 0
    _minutes: int = 0

    def file(self, content: onnx.ModelProto | bytes, name: str = "model.onnx") -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
        return path

    def calibration(self, name: str = "calibration.npz", **arrays: Any) -> Path:
        path = self.folder / name
        np.savez_compressed(path, **arrays)
        return path

    def _now(self) -> datetime:
        self._minutes += 1
        return START + timedelta(minutes=self._minutes)

    def build(
        self,
        source: Path,
        preset: str = "source",
        calibration: Path | None = None,
        /,
        *,
        cache: BuildCache | None = None,
        **changes: Any,
    ) -> ForgeOutcome:
        settings: dict[str, Any] = {
            "role": "candidate",
            "backend": "onnxruntime",
            "target": "cpu",
            "preset": preset,
            "precision": "unknown",
            "source": file_sha256(source),
            "source_name": source.name,
            "calibration": file_sha256(calibration) if calibration else None,
            "input_shapes": {},
            "batch": None,
            "height": None,
            "width": None,
        } | changes
        self._count += 1
        return build(
            ForgeConfig(**settings),
            ForgeInputs(source, calibration),
            self.workspace,
            cache,
            now=self._now,
            on_progress=self.progress.append,
        )

    @property
    def workspace(self) -> Path:
        return self.folder / f"workspace-{self._count}"


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    return Forge(tmp_path)


@pytest.fixture
def make_cnn() -> Callable[..., onnx.ModelProto]:
    return cnn


@pytest.fixture
def make_node() -> Callable[..., onnx.ModelProto]:
    return one_node


@pytest.fixture
def images() -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(3).normal(size=(10, 1, 8, 8)).astype(np.float32)
