"""A worker that executes nothing: from a worker request to the answer that seed 000's Runtime exports for it.

It tries the boundary without a model, a toolchain or a device. Its latencies are zero and it says that it
is a dry run, so that its result is never compared and the decision on it is ``unknown``. Pure.
"""

from __future__ import annotations

from typing import Any, Final

from edgeproof.contract.errors import FieldError, Refused
from edgeproof.contract.worker import WorkerRequest

FAILURE_CODE: Final = "runtime_worker_dry_run_failed"
FAILURE_MESSAGE: Final = "The dry run was asked to fail."
DEFAULT_WARMUP: Final = 5
DEFAULT_RUNS: Final = 50
_AXES: Final = ("batch", "height", "width")
_ZERO: Final = {"mean_ms": 0.0, "p50_ms": 0.0, "p95_ms": 0.0, "p99_ms": 0.0}


def dry_completed(request: WorkerRequest, at: str) -> dict[str, Any]:
    """A completed answer. ``at`` is the time now, RFC 3339.

    Raises ``Refused`` (``invalid_request``) for a request that says too little, as the Runtime does: backend,
    target, precision, and positive batch, height and width or else input shapes.
    """
    options = request.options
    for name in ("backend", "target", "precision"):
        if not isinstance(options.get(name), str) or not options[name]:
            raise _lacking(name, "a text is required")
    shapes = options.get("input_shapes") or None
    axes = {axis: options.get(axis) for axis in _AXES}
    for axis, length in axes.items():
        positive = isinstance(length, int) and not isinstance(length, bool) and length > 0
        if not positive and not (length is None and shapes):
            raise _lacking(axis, "a positive number is required, or input_shapes")
    model = request.artifact_path or request.model_path
    provenance = options.get("provenance")
    told = provenance if isinstance(provenance, dict) else {}
    return {
        "job_id": request.job_id,
        "status": "completed",
        "forge_metadata": {
            **{name: options[name] for name in ("backend", "target", "precision")},
            "artifact_path": request.artifact_path,
            "source_model_path": request.model_path,
        },
        "runtime_result": {
            "model_path": model,
            "engine_backend": options["backend"],
            "device_name": options["target"],
            "precision": options["precision"],
            **axes,
            **({"input_shapes": shapes} if shapes else {}),
            **_ZERO,
            "latency_ms": {name.removesuffix("_ms"): zero for name, zero in _ZERO.items()},
            "run_config": {
                **axes,
                "warmup": options.get("warmup") or DEFAULT_WARMUP,
                "runs": options.get("runs") or DEFAULT_RUNS,
                "metadata_path": request.metadata_path,
                "manifest_path": request.manifest_path,
                "dry_run": True,
            },
            "timestamp": at,
            "extra": {
                "runtime_artifact_path": model,
                "source_model_path": request.model_path,
                "runtime_artifact_sha256": told.get("artifact_sha256"),
                "source_model_sha256": told.get("source_model_sha256"),
                "artifact_type": told.get("artifact_type"),
                "preset_name": told.get("preset_name"),
                "build_id": told.get("build_id"),
                "dry_run": True,
                "worker_response_mode": "dry_run",
            },
        },
        "completed_at": at,
    }


def dry_failed(request: WorkerRequest, at: str, message: str | None = None) -> dict[str, Any]:
    """A failed answer, of stage ``runtime``."""
    error = {"code": FAILURE_CODE, "message": message or FAILURE_MESSAGE, "stage": "runtime"}
    return {"job_id": request.job_id, "status": "failed", "error": error, "failed_at": at}


def _lacking(option: str, what: str) -> Refused:
    path = f"options.{option}"
    return Refused("invalid_request", f"{path}: {what}", errors=(FieldError(path=path, message=what),))
