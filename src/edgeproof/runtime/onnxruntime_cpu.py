"""ONNX Runtime on the CPU.

The timed call is ``InferenceSession.run_with_iobinding`` on inputs that were bound beforehand: the
engine's own run, without the copying and checking of ``InferenceSession.run`` (about 2 µs a call). It is
what a deployment in C or C++ does with pre-allocated tensors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeproof.runtime.port import Bound, ModelRefused, Session, Tensor, Trial

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROVIDER: Final = "CPUExecutionProvider"
_TRIALS: Final = Path(__file__).parent / "trials"

_DTYPES: Final = {
    "float": "float32",
    "double": "float64",
    **{name: name for name in ("float16", "int8", "int16", "int32", "int64", "bool")},
    **{name: name for name in ("uint8", "uint16", "uint32", "uint64")},
}

# First match wins. The texts are those of ONNX Runtime 1.22 to 1.31; its error codes are too coarse.
_MEANINGS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), code)
    for pattern, code in (
        (r"bad.?alloc|failed to allocate|cannot allocate memory|out of memory|failed to map", "memory_limit"),
        (r"unsupported model ir version|\bopset \d+ is under development", "unsupported_opset"),
        (r"domain_version of \d+|could not find an implementation for", "unsupported_operator"),
        (r"is not a registered function|no op registered", "unsupported_operator"),
        (r"protobuf parsing failed|failed to load model because protobuf", "model_not_onnx"),
        (r"external data", "external_data_missing"),
        (r"got invalid dimensions|invalid rank for input|unexpected input data type", "shape_mismatch"),
    )
)


def meaning(text: str, *, otherwise: str) -> ModelRefused:
    """The stable code behind an ONNX Runtime error text; the first line of it is kept as detail."""
    code = next((code for pattern, code in _MEANINGS if pattern.search(text)), otherwise)
    return ModelRefused(code, text.strip().splitlines()[0][:500] if text.strip() else otherwise)


class _Bound:
    def __init__(self, session: Any, feed: Mapping[str, NDArray[Any]], outputs: tuple[Tensor, ...]) -> None:
        self._binding = session.io_binding()
        for name, array in feed.items():
            self._binding.bind_cpu_input(name, array)
        for output in outputs:
            self._binding.bind_output(output.name, "cpu")
        self._feed = feed  # bound by address: must outlive the binding
        self._call: Callable[[], object] = partial(session.run_with_iobinding, self._binding)

    @property
    def call(self) -> Callable[[], object]:
        return self._call

    def outputs(self) -> list[NDArray[Any]]:
        return [value.numpy() for value in self._binding.get_outputs()]


class _Session:
    def __init__(self, session: Any) -> None:
        self._session = session
        self.inputs = tuple(_tensor(one) for one in session.get_inputs())
        self.outputs = tuple(_tensor(one) for one in session.get_outputs())

    def bind(self, feed: Mapping[str, NDArray[Any]]) -> Bound:
        try:
            return _Bound(self._session, feed, self.outputs)
        except (RuntimeError, ValueError) as error:
            raise meaning(str(error), otherwise="shape_mismatch") from error


def _tensor(node: Any) -> Tensor:
    element = re.fullmatch(r"tensor\((\w+)\)", node.type)
    dtype = _DTYPES.get(element.group(1)) if element else None
    if dtype is None:
        raise ModelRefused(
            "unsupported_operator", f"{node.name} has the type {node.type}, not a tensor of numbers"
        )
    return Tensor(node.name, dtype, tuple(node.shape))


class OnnxRuntimeCpu:
    """``edgeproof.backends: onnxruntime``."""

    name = "onnxruntime"
    targets: tuple[str, ...] = ("cpu",)
    trials: tuple[Trial, ...] = tuple(
        Trial(name, name.partition("_")[0], _TRIALS / f"{name}.onnx")
        for name in ("fp32", "fp16", "int8_dynamic", "int8_static")
    )

    def versions(self) -> dict[str, str]:
        try:
            return {"onnxruntime": version("onnxruntime"), "numpy": version("numpy")}
        except PackageNotFoundError:
            return {}

    def prepare(self) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise meaning(str(error), otherwise="backend_missing") from error
        onnxruntime.set_default_logger_severity(3)

    def load(self, artifact: Path, threads: int) -> Session:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        try:
            return _Session(onnxruntime.InferenceSession(artifact, options, providers=[PROVIDER]))
        except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
            if isinstance(error, ModelRefused | MemoryError):
                raise
            raise meaning(str(error), otherwise="model_invalid") from error

    def refusal(self, error: Exception) -> ModelRefused:
        return meaning(str(error), otherwise="stage_crashed")
