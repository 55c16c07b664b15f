"""The ONNX Runtime toolchain: from an ONNX model to one that ONNX Runtime runs on the CPU.

``source`` copies; ``fp32`` optimises, at most to the extended level, whose files move between machines;
``fp16`` converts; ``int8_*`` quantise. Whatever is built must load and run once on zeros.
"""

from __future__ import annotations

import shutil
from importlib.metadata import version as installed_version
from pathlib import Path

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from edgeproof.contract.errors import StageFailed
from edgeproof.contract.jobs import Progress
from edgeproof.contract.requests import Precision
from edgeproof.domain.input_shapes import Shapes, resolve
from edgeproof.forge import quantisation
from edgeproof.forge.calibration import read_calibration
from edgeproof.forge.onnx_model import (
    declared_inputs,
    demand_valid,
    precision_of,
    read_model,
    serialise,
    with_fixed_inputs,
)
from edgeproof.forge.onnxruntime_session import failure, input_types, open_session, quiet, run_on_zeros
from edgeproof.forge.port import BuildOrder, BuiltModel, OnProgress

_STEPS = ("inspect", "prepare", "build", "check")


class OnnxRuntimeToolchain:
    """Builds for ONNX Runtime's CPU execution provider."""

    name = "onnxruntime"
    artifact_format = "onnx"

    @property
    def version(self) -> str:
        return installed_version("onnxruntime")

    def versions(self) -> dict[str, str]:
        return {one: installed_version(one) for one in ("numpy", "onnx", "onnxruntime", "protobuf", "sympy")}

    def build(self, order: BuildOrder, on_progress: OnProgress) -> BuiltModel:
        """See ``port.Toolchain.build``."""
        with quiet(order.scratch):
            _report(on_progress, "inspect")
            model = _inspect(order.source)
            shapes = resolve(
                declared_inputs(model),
                order.input_shapes,
                batch=order.batch,
                height=order.height,
                width=order.width,
            )
            flags = {**order.preset.options, "execution_provider": "CPUExecutionProvider"}
            found = precision_of(model)
            if order.preset.options["method"] == "copy":
                shutil.copyfile(order.source, order.artifact)
            else:
                flags |= _convert(order, model, found, shapes, on_progress)
                found = order.preset.precision
            _report(on_progress, "check")
            run_on_zeros(open_session(order.artifact, otherwise="build_failed", level="extended"), shapes)
        return BuiltModel(precision=found, input_shapes=shapes, build_options=flags)


def _inspect(source: Path) -> onnx.ModelProto:
    """The model, if it is valid and ONNX Runtime knows all that it uses.

    ONNX Runtime is asked first because its answer tells an unknown operator or opset from a broken
    model, which the checker's does not.
    """
    model = read_model(source)
    try:
        open_session(source, otherwise="model_invalid")
    except StageFailed as error:
        if error.code == "model_invalid":
            demand_valid(model)  # says what is wrong in ONNX's words, where it sees it too
        raise
    demand_valid(model)
    return model


def _convert(
    order: BuildOrder, model: onnx.ModelProto, found: Precision, shapes: Shapes, on_progress: OnProgress
) -> dict[str, str]:
    """Write the artifact; returns the flags that only this model decided."""
    preset = order.preset
    if found != "fp32":
        raise StageFailed(
            "build_failed",
            f"preset {preset.name} needs an fp32 model and this one is {found}: use preset source",
        )
    fixed = with_fixed_inputs(model, shapes)
    _report(on_progress, "prepare")
    level = preset.options["graph_optimization_level"]
    flags: dict[str, str] = {}
    try:
        match preset.options["method"]:
            case "optimise":
                built = _optimised(fixed, level, order.scratch)
            case "float16":
                basic = _optimised(fixed, level, order.scratch)
                _report(on_progress, "build")
                built = convert_float_to_float16(basic, keep_io_types=True)
            case _:
                built, flags = _quantised(order, fixed, shapes, on_progress)
    except (StageFailed, MemoryError):
        raise
    except Exception as error:  # ONNX Runtime's tools raise whatever comes up
        raise failure(error, "build_failed") from error
    order.artifact.write_bytes(serialise(built))
    return flags


def _optimised(model: onnx.ModelProto, level: str, scratch: Path) -> onnx.ModelProto:
    target = scratch / "optimised.onnx"
    open_session(serialise(model), otherwise="build_failed", level=level, optimised=target)
    return onnx.load(target)


def _quantised(
    order: BuildOrder, fixed: onnx.ModelProto, shapes: Shapes, on_progress: OnProgress
) -> tuple[onnx.ModelProto, dict[str, str]]:
    target = order.scratch / "quantised.onnx"
    if order.preset.options["method"] == "quantize_dynamic":
        prepared = quantisation.prepare(fixed, order.scratch)
        _report(on_progress, "build")
        flags = quantisation.dynamic_int8(prepared, target, _has_kernels)
        return onnx.load(target), flags
    if order.calibration is None:
        raise StageFailed("calibration_required")
    session = open_session(serialise(fixed), otherwise="build_failed")
    batches = read_calibration(order.calibration, shapes, input_types(session))
    prepared = quantisation.prepare(fixed, order.scratch)

    def on_batch(count: int) -> None:
        on_progress(Progress(completed=count, total=len(batches), unit="batch", message="calibrate"))

    flags = quantisation.static_int8(prepared, target, batches, order.preset.options, on_batch)
    return onnx.load(target), flags


def _has_kernels(path: Path) -> bool:
    try:
        open_session(path, otherwise="build_failed")
    except StageFailed as error:
        if error.code != "unsupported_operator":
            raise
        return False
    return True


def _report(on_progress: OnProgress, step: str) -> None:
    on_progress(Progress(completed=_STEPS.index(step), total=len(_STEPS), unit="step", message=step))
