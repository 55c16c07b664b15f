"""The tiny models that ONNX Runtime is tried with; ``python tests/unit/runtime/trial_models.py`` writes them.

Opset and IR are old ones, so that no engine fails for its age.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import edgeproof.runtime

FOLDER = Path(edgeproof.runtime.__file__).parent / "trials"
_OPSET, _IR = 13, 7


def models() -> dict[str, onnx.ModelProto]:
    """By trial: a product with a constant matrix, each in its own arithmetic."""
    eye = np.eye(4)
    return {
        "fp32": _model(TensorProto.FLOAT, [_node("MatMul", "x", "w", to="y")], w=eye.astype(np.float32)),
        "fp16": _model(TensorProto.FLOAT16, [_node("MatMul", "x", "w", to="y")], w=eye.astype(np.float16)),
        "int8_dynamic": _model(
            TensorProto.FLOAT,
            [
                _node("DynamicQuantizeLinear", "x", to=("q", "scale", "zero")),
                _node("MatMulInteger", "q", "w", "zero", "w_zero", to="sum"),
                _node("Cast", "sum", to="cast", kind=TensorProto.FLOAT),
                _node("Mul", "cast", "scale", to="y"),
            ],
            w=eye.astype(np.int8),
            w_zero=np.int8(0),
        ),
        "int8_static": _model(
            TensorProto.FLOAT,
            [
                _node("QuantizeLinear", "x", "scale", "zero", to="q"),
                _node("DequantizeLinear", "q", "scale", "zero", to="dq"),
                _node("DequantizeLinear", "w", "w_scale", "w_zero", to="dw"),
                _node("MatMul", "dq", "dw", to="product"),
                _node("QuantizeLinear", "product", "scale", "zero", to="qy"),
                _node("DequantizeLinear", "qy", "scale", "zero", to="y"),
            ],
            w=eye.astype(np.int8),
            w_scale=np.float32(1),
            w_zero=np.int8(0),
            scale=np.float32(1),
            zero=np.uint8(0),
        ),
    }


def _node(kind_of: str, *inputs: str, to: str | tuple[str, ...], kind: int | None = None) -> onnx.NodeProto:
    outputs = [to] if isinstance(to, str) else list(to)
    return helper.make_node(kind_of, list(inputs), outputs, **({} if kind is None else {"to": kind}))


def _model(kind: int, nodes: list[onnx.NodeProto], **constants: np.ndarray) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, kind, [1, 4]) for name in ("x", "y")]
    graph = helper.make_graph(
        nodes,
        "trial",
        ends[:1],
        ends[1:],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, model in models().items():
        (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
