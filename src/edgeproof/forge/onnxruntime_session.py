"""ONNX Runtime sessions for building: opening one, running it once on zeros, naming what went wrong.

Not for measuring: threads are ONNX Runtime's own choice here and nothing is timed.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

from edgeproof.contract.errors import StageFailed
from edgeproof.contract.faults import Fault

PROVIDERS: Final = ["CPUExecutionProvider"]
_FATAL, _WARNING = 4, 2
_LEVELS: Final = {
    "disable": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
}

#: What ONNX Runtime says → the code it means. The first that matches counts.
_MESSAGES: Final = (
    ("bad_alloc", "memory_limit"),
    ("bad allocation", "memory_limit"),
    ("Failed to allocate memory", "memory_limit"),
    ("Cannot allocate memory", "memory_limit"),
    ("No space left on device", "disk_full"),
    ("Disk quota exceeded", "disk_full"),
    ("File too large", "disk_full"),
    # How writing the optimised graph fails: the other cause, 2 GiB, is more than a source can have.
    ("Protobuf serialization failed", "disk_full"),
    ("is under development and support for this is limited", "unsupported_opset"),
    ("Unsupported model IR version", "unsupported_opset"),
    ("is not a registered function/op", "unsupported_operator"),
    ("No Op registered for", "unsupported_operator"),
    ("No opset import for domain", "unsupported_operator"),
    ("Could not find an implementation for", "unsupported_operator"),
    ("NOT_IMPLEMENTED", "unsupported_operator"),
)

#: Paths of this machine, and of the one that ONNX Runtime was compiled on, with a C++ signature.
_NOISE: Final = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : |Load model from .*? failed: ?|/onnxruntime_src/\S+ .*?\) (?=[A-Z])"
)

_NUMPY_TYPES: Final = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
    "tensor(int8)": np.int8, "tensor(uint8)": np.uint8, "tensor(int16)": np.int16,
    "tensor(uint16)": np.uint16, "tensor(int32)": np.int32, "tensor(uint32)": np.uint32,
    "tensor(int64)": np.int64, "tensor(uint64)": np.uint64, "tensor(bool)": np.bool_,
}  # fmt: skip


def open_session(
    model: bytes | Path, *, otherwise: str, level: str = "disable", optimised: Path | None = None
) -> onnxruntime.InferenceSession:
    """A session on the CPU; ``optimised`` gets the graph as optimised to ``level``.

    Raises ``StageFailed`` with the code that ONNX Runtime's message means, else ``otherwise``.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.graph_optimization_level = _LEVELS[level]
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    try:
        return onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model), options, providers=PROVIDERS
        )
    except MemoryError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no base of their own
        raise failure(error, otherwise) from error


def run_on_zeros(session: onnxruntime.InferenceSession, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """One inference, to prove that the model runs. Raises ``StageFailed`` (``build_failed``)."""
    feed = {
        value.name: np.zeros(shapes[value.name], numpy_type(value.type, value.name))
        for value in session.get_inputs()
    }
    try:
        session.run(None, feed)
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise failure(error, "build_failed") from error


def numpy_type(onnx_type: str, name: str) -> type[np.generic]:
    """Raises ``StageFailed`` (``build_failed``) for types that no data set can hold, such as strings."""
    try:
        return _NUMPY_TYPES[onnx_type]
    except KeyError:
        raise StageFailed(
            "build_failed", f"input {name!r} is a {onnx_type}, which cannot be fed here"
        ) from None


def failure(error: Exception, otherwise: str) -> StageFailed:
    """What ONNX Runtime, or one of its tools, meant."""
    text = _NOISE.sub("", " ".join(str(error).split()))
    code = next((code for part, code in _MESSAGES if part in text), otherwise)
    fault: Fault = "device" if code == "disk_full" else "user"
    return StageFailed(code, text[:500] or type(error).__name__, fault=fault)


@contextlib.contextmanager
def quiet(scratch: Path) -> Iterator[None]:
    """Keep ONNX Runtime's tools to themselves: no prints, logs or warnings, temporary files in ``scratch``.

    The tools log through the root logger and would install a handler on it, hence the one put there.
    """
    root, handler, disabled = logging.getLogger(), logging.NullHandler(), logging.root.manager.disable
    folder = tempfile.tempdir
    root.addHandler(handler)
    logging.disable(logging.CRITICAL)
    onnxruntime.set_default_logger_severity(_FATAL)
    tempfile.tempdir = str(scratch)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        tempfile.tempdir = folder
        onnxruntime.set_default_logger_severity(_WARNING)
        logging.disable(disabled)
        root.removeHandler(handler)


def input_types(session: onnxruntime.InferenceSession) -> dict[str, np.dtype[Any]]:
    """Element type of every input."""
    return {value.name: np.dtype(numpy_type(value.type, value.name)) for value in session.get_inputs()}
