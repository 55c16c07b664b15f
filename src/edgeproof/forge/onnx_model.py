"""Inspecting a source model before anything is built from it: is it ONNX, whole, valid, self-contained?

What ONNX Runtime makes of it is asked elsewhere (``onnxruntime_session``); no file but the model is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from google.protobuf.message import DecodeError, Message
from onnx import TensorProto

from edgeproof.contract.errors import StageFailed
from edgeproof.contract.requests import Precision
from edgeproof.domain.input_shapes import Dimension
from edgeproof.forge.onnx_bytes import demand_whole_model

_EIGHT_BIT_OPERATORS = frozenset({
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul",
    "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QGemm",
})  # fmt: skip
_EIGHT_BIT_TYPES = (TensorProto.INT8, TensorProto.UINT8)


def read_model(path: Path) -> onnx.ModelProto:
    """The parsed model, whole and self-contained. Raises ``StageFailed``: ``model_not_onnx``,
    ``model_truncated``, ``model_invalid``, ``external_data_escapes``, ``external_data_missing``."""
    data = path.read_bytes()
    demand_whole_model(data)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise StageFailed("model_invalid", f"the file does not parse as an ONNX model: {error}") from error
    _demand_self_contained(model, path.parent)
    return model


def demand_valid(model: onnx.ModelProto) -> None:
    """The ONNX checker's word. Raises ``StageFailed`` (``model_invalid``)."""
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, UnicodeDecodeError) as error:
        raise StageFailed("model_invalid", _first_lines(str(error))) from error


def declared_inputs(model: onnx.ModelProto) -> dict[str, tuple[Dimension, ...]]:
    """Name and dimensions of every input that must be fed. Raises ``StageFailed`` (``model_invalid``)
    for one that is no tensor: nothing here could feed it."""
    initialised = {tensor.name for tensor in model.graph.initializer}
    inputs: dict[str, tuple[Dimension, ...]] = {}
    for value in model.graph.input:
        if value.name in initialised:
            continue
        if value.type.WhichOneof("value") != "tensor_type":
            raise StageFailed("model_invalid", f"input {value.name!r} is not a tensor")
        inputs[value.name] = tuple(
            dimension.dim_value if dimension.dim_value > 0 else (dimension.dim_param or None)
            for dimension in value.type.tensor_type.shape.dim
        )
    return inputs


def precision_of(model: onnx.ModelProto) -> Precision:
    """Which arithmetic the model holds: int8 where anything is quantised to 8 bits, else the float type
    of most of its weights, else that of its inputs; ``unknown`` for every other type."""
    if any(node.op_type in _EIGHT_BIT_OPERATORS for node in model.graph.node) and any(
        tensor.data_type in _EIGHT_BIT_TYPES for tensor in _tensors(model)
    ):
        return "int8"
    elements: dict[int, int] = {}
    for tensor in _tensors(model):
        if tensor.data_type in (
            TensorProto.FLOAT,
            TensorProto.FLOAT16,
            TensorProto.BFLOAT16,
            TensorProto.DOUBLE,
        ):
            elements[tensor.data_type] = elements.get(tensor.data_type, 0) + prod(tensor.dims)
    if not elements:
        elements = {value.type.tensor_type.elem_type: 1 for value in reversed(model.graph.input)}
    kind = max(elements, key=lambda one: elements[one], default=TensorProto.UNDEFINED)
    if kind == TensorProto.FLOAT:
        return "fp32"
    return "fp16" if kind == TensorProto.FLOAT16 else "unknown"


def with_fixed_inputs(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]]) -> onnx.ModelProto:
    """A copy whose inputs have exactly ``shapes``; the symbols they replace are replaced everywhere."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    symbols: dict[str, int] = {}
    for value in fixed.graph.input:
        if value.name not in shapes:
            continue
        for dimension, length in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True):
            if dimension.dim_param:
                symbols[dimension.dim_param] = length
            dimension.dim_value = length
    for value in (*fixed.graph.output, *fixed.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in symbols:
                dimension.dim_value = symbols[dimension.dim_param]
    return fixed


def serialise(model: onnx.ModelProto) -> bytes:
    """The model's bytes, the same for the same content."""
    return bytes(model.SerializeToString(deterministic=True))


def _demand_self_contained(model: onnx.ModelProto, folder: Path) -> None:
    missing: list[str] = []
    for tensor in _tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        if _escapes(location, folder):
            raise StageFailed("external_data_escapes", f"tensor {tensor.name!r} names {location!r}")
        missing.append(location)
    if missing:
        raise StageFailed(
            "external_data_missing",
            f"weights lie in {', '.join(repr(one) for one in sorted(set(missing)))}, which the model's "
            "digest does not cover: save the model as one file",
        )


def _escapes(location: str, folder: Path) -> bool:
    if not location or "\0" in location:
        return True
    for path in (PurePosixPath(location), PureWindowsPath(location)):
        if path.is_absolute() or path.anchor or ".." in path.parts:
            return True
    try:
        return not (folder / location).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a name too long, a loop of links
        return True


def _tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor anywhere in the model: initialisers, sparse ones, attributes, subgraphs, functions."""
    pending: list[Message] = [model]
    while pending:
        message = pending.pop()
        if isinstance(message, TensorProto):
            yield message
            continue
        for field, value in message.ListFields():
            if field.message_type is None:
                continue
            pending.extend([value] if isinstance(value, Message) else value)


def _first_lines(text: str) -> str:
    return " ".join(text.split())[:500]
