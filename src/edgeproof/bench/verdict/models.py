"""The models of the benchmark: chains of equal convolutions of about 0.5, 5 and 30 ms on one core.

Because the layers are equal but for the first, which has few input channels, one more of them than ``LAYERS``
makes a model that is genuinely heavier by about ``HEAVIER_PCT``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LAYERS: Final = 20
HEAVIER_PCT: Final = 100 / LAYERS
CHANNELS_IN: Final = 3
KERNEL: Final = 3


@dataclass(frozen=True)
class Model:
    """``heavier``: its slowest variant is a heavier model instead of a spin. ``rotations`` in one cycle."""

    name: str
    channels: int
    size: int
    heavier: bool
    rotations: int


MODELS: Final = (
    Model("0.5 ms", channels=16, size=23, heavier=False, rotations=48),
    Model("5 ms", channels=32, size=40, heavier=True, rotations=12),
    Model("30 ms", channels=64, size=48, heavier=False, rotations=2),
)


def write(model: Model, path: Path, *, layers: int = LAYERS) -> Path:
    """An ONNX file with fixed random weights: the same bytes on every machine."""
    random = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    before, width = "x", CHANNELS_IN
    for layer in range(layers):
        scale = np.sqrt(2 / (width * KERNEL * KERNEL))
        values = random.standard_normal((model.channels, width, KERNEL, KERNEL)) * scale
        weights.append(numpy_helper.from_array(values.astype(np.float32), f"w{layer}"))
        nodes.append(helper.make_node("Conv", [before, f"w{layer}"], [f"c{layer}"], pads=[KERNEL // 2] * 4))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        before, width = f"r{layer}", model.channels
    nodes.append(helper.make_node("GlobalAveragePool", [before], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["y"]))
    shape = [1, CHANNELS_IN, model.size, model.size]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, model.channels])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(made.SerializeToString())
    return path


def write_feed(model: Model, path: Path) -> Path:
    """One input, as an ``.npy`` file of shape [1, 1, 3, size, size]."""
    shape = (1, 1, CHANNELS_IN, model.size, model.size)
    np.save(path, np.random.default_rng(1).standard_normal(shape).astype(np.float32))
    return path
