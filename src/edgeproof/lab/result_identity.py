"""Which unsigned results belong together: the originals' keys (reference section 2), from a result alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from edgeproof.contract.plain_results import PlainResult

_MODEL_FILES: Final = frozenset({".onnx", ".engine", ".plan", ".trt", ".rknn", ".tflite", ".pt"})


@dataclass(frozen=True)
class ResultIdentity:
    """``compare_key``: model, shape and precision; ``backend_key``: engine and device.

    Results with one ``pair_key`` are of the same model, shape, engine and device, whatever their precision.
    """

    compare_key: str
    backend_key: str
    pair_key: str


def identity_of(result: PlainResult) -> ResultIdentity:
    """Engine, device and precision count without their case; an axis that is not said is ``x``."""
    axes = ("x" if axis is None else str(axis) for axis in (result.batch, result.height, result.width))
    batch, height, width = axes
    work = f"{model_stem(result.model)}__b{batch}__h{height}w{width}"
    backend = f"{result.engine.lower()}__{result.device.lower()}"
    return ResultIdentity(f"{work}__{result.precision.lower()}", backend, f"{work}__{backend}")


def model_stem(model: str) -> str:
    """A model's name without folders and without the ending of a model file."""
    path = PurePosixPath(model.replace("\\", "/"))
    return (path.stem if path.suffix.lower() in _MODEL_FILES else path.name) or model
