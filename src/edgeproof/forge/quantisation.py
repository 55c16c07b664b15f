"""int8 by ONNX Runtime's quantiser: dynamic (no data) and static (QDQ, ranges from a calibration set).

Takes a model with fixed inputs that passed inspection; loads and runs nothing but the calibration.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnx.version_converter
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.registry import IntegerOpsRegistry, QDQRegistry, QLinearOpsRegistry
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgeproof.contract.errors import StageFailed

Batch = dict[str, np.ndarray[Any, np.dtype[Any]]]

#: Operator lists are sorted: the quantiser's own default comes out of a set, in another order every time.
STATIC_OPERATORS: Final = tuple(sorted({*QLinearOpsRegistry, *QDQRegistry}))
DYNAMIC_OPERATORS: Final = tuple(sorted(IntegerOpsRegistry))
_CHANNEL_SCALES_OPSET: Final = 13
_QUANTISED: Final = frozenset({
    "QuantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "DynamicQuantizeLSTM",
    "QAttention",
})  # fmt: skip


def prepare(model: onnx.ModelProto, scratch: Path) -> Path:
    """The quantiser's own preparation: symbolic shapes, basic optimisation, inferred shapes. Before it,
    an older opset is raised to the first whose DequantizeLinear knows an axis, where that is possible."""
    if _opset(model) < _CHANNEL_SCALES_OPSET:
        # The converter has no adapter for some operators.
        with contextlib.suppress(onnx.version_converter.ConvertError, RuntimeError, ValueError):
            model = onnx.version_converter.convert_version(model, _CHANNEL_SCALES_OPSET)
    source, prepared = scratch / "to-prepare.onnx", scratch / "prepared.onnx"
    onnx.save(model, source)
    quant_pre_process(source, prepared)
    return prepared


def static_int8(
    prepared: Path,
    target: Path,
    batches: Sequence[Batch],
    options: Mapping[str, str],
    on_batch: Callable[[int], None],
) -> dict[str, str]:
    """Quantise with QDQ pairs; returns the flags used. ``options`` are the preset's, but a model whose
    opset cannot hold scales per channel, and cannot be raised to one that can, gets one per tensor."""
    per_channel = options["per_channel"] == "true" and _holds_channel_scales(prepared)
    quantize_static(
        prepared,
        target,
        _Reader(batches, on_batch),
        quant_format=QuantFormat[options["quant_format"]],
        op_types_to_quantize=list(STATIC_OPERATORS),
        per_channel=per_channel,
        reduce_range=options["reduce_range"] == "true",
        activation_type=QuantType[options["activation_type"]],
        weight_type=QuantType[options["weight_type"]],
        calibrate_method=CalibrationMethod[options["calibrate_method"]],
    )
    _demand_quantised(target)
    return {
        "calibration_batches": str(len(batches)),
        "op_types_to_quantize": ",".join(STATIC_OPERATORS),
        "per_channel": "true" if per_channel else "false",
    }


def dynamic_int8(prepared: Path, target: Path, runs: Callable[[Path], bool]) -> dict[str, str]:
    """Quantise the weights; returns the flags used.

    Convolutions are included, with unsigned weights, if ONNX Runtime has kernels for the outcome as
    ``runs`` tells; signed ones have none on x86. Else, and for models without any, all but convolutions.
    """
    operators = {node.op_type for node in onnx.load(prepared).graph.node}
    without = tuple(one for one in DYNAMIC_OPERATORS if one != "Conv")
    attempts = [(without, QuantType.QInt8)]
    if "Conv" in operators:
        attempts.insert(0, (DYNAMIC_OPERATORS, QuantType.QUInt8))
    for op_types, weight_type in attempts:
        quantize_dynamic(prepared, target, op_types_to_quantize=list(op_types), weight_type=weight_type)
        if runs(target):
            break
    _demand_quantised(target)
    return {"op_types_to_quantize": ",".join(op_types), "weight_type": weight_type.name}


def _opset(model: onnx.ModelProto) -> int:
    return max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0)


def _holds_channel_scales(path: Path) -> bool:
    return _opset(onnx.load(path)) >= _CHANNEL_SCALES_OPSET


def _demand_quantised(path: Path) -> None:
    if not any(node.op_type in _QUANTISED for node in onnx.load(path).graph.node):
        raise StageFailed("build_failed", "the model has no operator that can be quantised to int8")


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Hands the calibration batches over, one by one."""

    def __init__(self, batches: Sequence[Batch], on_batch: Callable[[int], None]) -> None:
        self._batches = batches
        self._at = 0
        self._on_batch = on_batch

    def get_next(self) -> Batch | None:
        if self._at == len(self._batches):
            return None
        self._at += 1
        self._on_batch(self._at)
        return self._batches[self._at - 1]
