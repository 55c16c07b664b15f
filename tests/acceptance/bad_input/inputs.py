"""Bad models and bad data sets, as bytes. All good ones take ``x`` [N, 8] and give ``y`` [N, 4]."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FEATURES, CLASSES = 8, 4
node = helper.make_node


def model(
    nodes: list[onnx.NodeProto],
    *,
    batch: int | str = 1,
    opset: int = 17,
    inputs: int = FEATURES,
    weights: dict[str, Any] | None = None,
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    data: bytes = made.SerializeToString()
    return data


def weight(seed: int = 0, features: int = FEATURES) -> dict[str, Any]:
    return {"w": np.random.default_rng(seed).random((features, CLASSES), dtype=np.float32)}


def linear(*, batch: int | str = 1, opset: int = 17, seed: int = 0, features: int = FEATURES) -> bytes:
    return model(
        [node("MatMul", ["x", "w"], ["y"])],
        batch=batch,
        opset=opset,
        inputs=features,
        weights=weight(seed, features),
    )


def unknown_operator() -> bytes:
    return model([node("Frobnicate", ["x", "w"], ["y"])], weights=weight())


def external(location: str) -> bytes:
    """The weights lie in another file."""
    parsed = onnx.load_from_string(linear())
    (tensor,) = parsed.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    data: bytes = parsed.SerializeToString()
    return data


def always_nan() -> bytes:
    """The square root of a negative number, for every input below a million."""
    nodes = [
        node("Sub", ["x", "million"], ["d"]),
        node("Sqrt", ["d"], ["s"]),
        node("MatMul", ["s", "w"], ["y"]),
    ]
    return model(nodes, weights={**weight(), "million": np.float32([1e6])})


def nan_below_zero() -> bytes:
    """As ``linear``, but NaN where an input is negative: x = sqrt(x)²."""
    nodes = [
        node("Sqrt", ["x"], ["s"]),
        node("Mul", ["s", "s"], ["p"]),
        node("MatMul", ["p", "w"], ["y"]),
    ]
    return model(nodes, weights=weight())


def endless(values: int) -> bytes:
    """A loop that never ends; each turn makes and sums ``values`` floats."""
    body = helper.make_graph(
        [
            node("Shape", ["so_far"], ["one"]),
            node("Mul", ["one", "many"], ["length"]),
            node("ConstantOfShape", ["length"], ["zeros"]),
            node("ReduceSum", ["zeros"], ["sum"], keepdims=1),
            node("Add", ["so_far", "sum"], ["next"]),
            node("Identity", ["go"], ["go_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("so_far", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1]),
        ],
    )
    nodes = [
        node("ReduceSum", ["x", "axes"], ["start"], keepdims=0),
        node("Loop", ["turns", "yes", "start"], ["total"], body=body),
        node("MatMul", ["x", "w"], ["m"]),
        node("Add", ["m", "total"], ["y"]),
    ]
    constants = {
        "axes": np.int64([1]),
        "turns": np.int64(2**62),
        "yes": np.bool_(True),
        "many": np.int64([values]),
    }
    return model(nodes, weights={**weight(), **constants})


def too_large_a_tensor() -> bytes:
    """Asks for zeros of 4 TiB."""
    nodes = [
        node("Shape", ["x"], ["n"]),
        node("Mul", ["n", "many"], ["big"]),
        node("ConstantOfShape", ["big"], ["zeros"]),
        node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        node("MatMul", ["x", "w"], ["m"]),
        node("Add", ["m", "sum"], ["y"]),
    ]
    return model(nodes, weights={**weight(), "many": np.int64([1 << 20, 1 << 17])})


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def labelled(count: int = 32, **arrays: Any) -> bytes:
    """Positive inputs with labels; ``arrays`` replace or, being None, remove."""
    given = {
        "x": np.random.default_rng(3).random((count, FEATURES), dtype=np.float32),
        "labels": np.arange(count) % CLASSES,
        **arrays,
    }
    return npz(**{name: array for name, array in given.items() if array is not None})


class Boom:
    """Unpickled, it makes a folder that a test looks for."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self._folder,)


def pickled(folder: str, *, member: bool) -> bytes:
    """A pickle, alone or as the array of an archive."""
    data = pickle.dumps(Boom(folder))
    if not member:
        return data
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", data)
    return buffer.getvalue()


def bomb() -> bytes:
    """A few megabytes that unpack to more than the gibibyte that is allowed."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w") as stream,
    ):
        header = {"descr": "<f4", "fortran_order": False, "shape": (33 << 20, FEATURES)}
        np.lib.format.write_array_header_1_0(stream, header)
        for _ in range(33 * 8):
            stream.write(bytes(1 << 22))
    return buffer.getvalue()
