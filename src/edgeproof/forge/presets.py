"""The named presets: what a build may be asked for, as data. Loads without any toolchain installed."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from edgeproof.contract.requests import Precision


@dataclass(frozen=True)
class Preset:
    """``options`` reach the toolchain as they are and are part of the build's identity.

    ``machine_bound``: the bytes depend on the kind of processor that built them, because numbers are
    computed on it. None of them leaves a graph that only that machine can run.
    """

    name: str
    backend: str
    target: str
    precision: Precision
    description: str
    options: MappingProxyType[str, str] = field(default_factory=lambda: MappingProxyType({}))
    needs_calibration: bool = False
    machine_bound: bool = False


def _preset(
    name: str,
    precision: Precision,
    description: str,
    options: dict[str, str],
    *,
    needs_calibration: bool = False,
) -> Preset:
    return Preset(
        name=name,
        backend="onnxruntime",
        target="cpu",
        precision=precision,
        description=description,
        options=MappingProxyType(options),
        needs_calibration=needs_calibration,
        machine_bound=needs_calibration,
    )


PRESETS: Final[dict[str, Preset]] = {
    preset.name: preset
    for preset in (
        _preset("source", "unknown", "the model as it is, byte for byte", {"method": "copy"}),
        _preset(
            "fp32",
            "fp32",
            "fixed shapes and graph optimisation that any machine can run",
            {"method": "optimise", "graph_optimization_level": "extended"},
        ),
        _preset(
            "fp16",
            "fp16",
            "half-precision weights and arithmetic; inputs and outputs keep their type",
            {"method": "float16", "graph_optimization_level": "basic", "keep_io_types": "true"},
        ),
        _preset(
            "int8_dynamic",
            "int8",
            "8-bit weights, activations quantised while running; needs no data",
            {"method": "quantize_dynamic", "graph_optimization_level": "basic"},
        ),
        _preset(
            "int8_static",
            "int8",
            "8-bit weights and activations, ranges taken from calibration data",
            {
                "method": "quantize_static",
                "graph_optimization_level": "basic",
                "quant_format": "QDQ",
                "calibrate_method": "MinMax",
                "activation_type": "QUInt8",
                "weight_type": "QInt8",
                "per_channel": "true",
                "reduce_range": "false",
            },
            needs_calibration=True,
        ),
    )
}
