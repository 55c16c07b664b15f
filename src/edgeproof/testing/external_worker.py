"""What an external worker would answer to a worker request, without building or running anything.

The form is a real answer's; the numbers are invented.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from edgeproof.contract.worker import WorkerRequest

AT: Final = "2026-03-02T08:16:25Z"
DIGEST: Final = "4f1c7c1d8c2b6a0e9d3f5b7a1c2e4d6f8091a2b3c4d5e6f708192a3b4c5d6e7f"


def completed_answer(request: WorkerRequest, **changes: Any) -> bytes:
    """A completed answer as JSON; ``changes`` replace its top-level fields."""
    options = request.options
    model = request.artifact_path or request.model_path
    answer: dict[str, Any] = {
        "job_id": request.job_id,
        "status": "completed",
        "forge_metadata": {"build_id": "invented", "artifact_path": model, "artifact_sha256": DIGEST},
        "runtime_result": {
            "model": model,
            "engine": options.get("backend", "onnxruntime"),
            "device": options.get("target", "cpu"),
            "precision": options.get("precision", "fp32"),
            "batch": options.get("batch", 1),
            "height": options.get("height", 8),
            "width": options.get("width", 8),
            "mean_ms": 6.42,
            "p50_ms": 6.31,
            "p95_ms": 7.05,
            "p99_ms": 7.9,
            "timestamp": AT,
            "run_config": {"warmup": 5, "runs": 50},
            "extra": {"runtime_artifact_sha256": DIGEST},
        },
        "completed_at": AT,
    }
    return msgspec.json.encode({**answer, **changes})


def failed_answer(request: WorkerRequest, stage: str = "runtime", **changes: Any) -> bytes:
    """A failed answer as JSON; ``changes`` replace its top-level fields."""
    error = {"code": "invented_failure", "message": "it broke", "stage": stage, "evidence": [{"log": "tail"}]}
    answer = {"job_id": request.job_id, "status": "failed", "error": error, "failed_at": AT}
    return msgspec.json.encode({**answer, **changes})
