"""Models of microseconds. ``quick`` and ``slow`` compute the same; ``other`` computes something else.

``dataset`` is labelled with what the first two compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FEATURES, CLASSES, WIDTH, LAYERS = 16, 4, 192, 4


@dataclass(frozen=True)
class TinyModels:
    quick: Path
    slow: Path
    other: Path
    dataset: Path


def make_models(folder: Path) -> TinyModels:
    folder.mkdir(parents=True, exist_ok=True)
    return TinyModels(
        quick=_save(folder / "quick.onnx", seed=0, layers=0),
        slow=_save(folder / "slow.onnx", seed=0, layers=LAYERS),
        other=_save(folder / "other.onnx", seed=1, layers=0),
        dataset=_data(folder / "data.npz"),
    )


def _data(path: Path) -> Path:
    samples = _random(7, 400, FEATURES)
    np.savez(path, x=samples, labels=(samples @ _random(0, FEATURES, CLASSES)).argmax(axis=1))
    return path


def _save(path: Path, *, seed: int, layers: int) -> Path:
    """``x·w``, plus a billionth of ``layers`` matrix products, which no optimiser may leave out."""
    weights = {"w": _random(seed, FEATURES, CLASSES)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y" if layers == 0 else "m"])]
    if layers:
        before, size = "x", FEATURES
        for layer in range(layers):
            weights[f"a{layer}"] = _random(layer + 2, size, WIDTH)
            nodes.append(helper.make_node("MatMul", [before, f"a{layer}"], [f"p{layer}"]))
            nodes.append(helper.make_node("Tanh", [f"p{layer}"], [f"h{layer}"]))
            before, size = f"h{layer}", WIDTH
        weights["last"] = _random(1, WIDTH, CLASSES) * np.float32(1e-9)
        nodes.append(helper.make_node("MatMul", [before, "last"], ["little"]))
        nodes.append(helper.make_node("Add", ["m", "little"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def _random(seed: int, rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)
