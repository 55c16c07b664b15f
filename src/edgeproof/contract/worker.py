"""Seed 000's worker boundary: what a Forge or a Runtime that is not ours is told, and what it answers.

Unsigned, so unknown fields are ignored. Field lists: the seed's tables and reference section 1. What a
``runtime_result`` must be is checked by ``lab.worker_response``: a broken one ends the job, while a broken
answer around it is refused.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, field

from edgeproof.contract.base import Wire
from edgeproof.contract.ids import IdText, Name, Text, UtcTime
from edgeproof.contract.jobs import JobError, JobStatus
from edgeproof.contract.requests import AnalyzeRequest, PositiveInt, Shape

PathText = Annotated[str, Meta(min_length=1, max_length=4096)]
HexDigest = Annotated[str, Meta(min_length=64, max_length=64, pattern=r"^[0-9A-Fa-f]{64}(?![\s\S])")]
"""A SHA-256 as other tools write it: in either case."""
Time = Annotated[datetime, Meta(tz=True)]
"""RFC 3339 with any offset."""
Milliseconds = Annotated[float, Meta(ge=0, le=1e9)]

SUMMARY_FIELDS: Final = (
    "source_model_path", "source_model_sha256", "artifact_path", "artifact_sha256", "artifact_type",
    "metadata_path", "manifest_path", "preset_name", "build_id", "backend", "target", "precision",
    "batch", "height", "width",
)  # fmt: skip


class ForgeHandover(Wire, frozen=True, kw_only=True):
    """Forge's ``worker_runtime_summary``, from a Forge that is not ours.

    An axis that the model does not have may be null. Beside the summary a caller may name the job, add
    notes, and lay ``options`` over those that the summary gives.
    """

    source_model_path: PathText
    source_model_sha256: HexDigest
    backend: Name
    target: Name
    precision: Name
    artifact_path: PathText
    artifact_sha256: HexDigest
    artifact_type: Name
    preset_name: Name
    build_id: Name
    batch: PositiveInt | None
    height: PositiveInt | None
    width: PositiveInt | None
    metadata_path: PathText | None = None
    manifest_path: PathText | None = None
    job_id: IdText | None = None
    notes: Annotated[str, Meta(max_length=4000)] | None = None
    options: dict[str, Any] = field(default_factory=dict)


class AnalyzeBody(AnalyzeRequest, frozen=True, kw_only=True):
    """Body of ``POST /api/analyze``: a request, or with ``source_model_path`` a Forge's
    ``worker_runtime_summary``, every field of which is then required as ``ForgeHandover`` says."""

    source_model_path: PathText | None = None
    source_model_sha256: HexDigest | None = None
    backend: Name | None = None
    target: Name | None = None
    precision: Name | None = None
    artifact_sha256: HexDigest | None = None
    artifact_type: Name | None = None
    preset_name: Name | None = None
    build_id: Name | None = None
    batch: PositiveInt | None = None
    height: PositiveInt | None = None
    width: PositiveInt | None = None


class WorkerRequest(Wire, frozen=True, kw_only=True):
    """``GET /api/jobs/{id}/worker-request``: what a queued analyze job asks of a worker.

    The summary comes last: the originals' Runtime takes a key where the text has it first.
    """

    job_id: IdText
    requested_at: UtcTime
    model_path: PathText | None = None
    artifact_path: PathText | None = None
    metadata_path: PathText | None = None
    manifest_path: PathText | None = None
    options: dict[str, Any]
    input_summary: dict[str, Any]


class WorkerError(Wire, frozen=True, kw_only=True):
    """Why a worker could not do its work, at which stage, and what shows it."""

    code: Name
    message: Text
    stage: Literal["forge", "runtime", "lab_validation"]
    evidence: Annotated[tuple[dict[str, Any], ...], Meta(max_length=50)] | dict[str, Any] | None = None


class WorkerCompleted(Wire, frozen=True, kw_only=True, tag_field="status", tag="completed"):
    """A worker's terminal answer with a result.

    ``forge_metadata`` may be Forge's metadata, its manifest or its ``worker_runtime_summary``.
    ``runtime_result`` is checked as ``WorkerRuntimeResult``.
    """

    job_id: IdText
    forge_metadata: dict[str, Any]
    runtime_result: dict[str, Any]
    completed_at: Time
    guard_analysis: dict[str, Any] | None = None
    error: None = None


class WorkerFailed(Wire, frozen=True, kw_only=True, tag_field="status", tag="failed"):
    """A worker's terminal answer without a result."""

    job_id: IdText
    error: WorkerError
    failed_at: Time
    runtime_result: None = None


WorkerResponse = WorkerCompleted | WorkerFailed


class WorkerRuntimeResult(Wire, frozen=True, kw_only=True):
    """What a worker's ``runtime_result`` holds at least; latencies are milliseconds of one call.

    ``model_path``, ``engine_backend`` or ``backend``, ``device_name`` or ``target`` are aliases of the first
    three. Latencies are zero only in a dry run. An axis is null only beside ``input_shapes``. Every
    ``…sha256`` in it is a digest or null.
    """

    model: PathText
    engine: Name
    device: Name
    precision: Name
    batch: PositiveInt | None
    height: PositiveInt | None
    width: PositiveInt | None
    mean_ms: Milliseconds
    p50_ms: Milliseconds
    p95_ms: Milliseconds
    p99_ms: Milliseconds
    timestamp: Time
    input_shapes: Annotated[dict[str, Shape], Meta(min_length=1)] | None = None
    run_config: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None


class WorkerReceipt(Wire, frozen=True, kw_only=True):
    """Answer to a worker response that was taken: what became of the job by it.

    ``failed`` with ``error.stage`` ``lab_validation`` where the result broke its schema; the violations are
    the error's evidence.
    """

    job_id: str
    status: JobStatus
    updated_at: UtcTime
    decision: str | None = None
    error: JobError | None = None


class WorkerTokenRequest(Wire, frozen=True, kw_only=True):
    """``POST /api/workers``: a token for a Forge or Runtime that is not ours."""

    name: Name


class WorkerToken(Wire, frozen=True, kw_only=True):
    """The token, shown once; only its digest is kept. Jobs name the worker by its id."""

    worker_id: str
    name: str
    token: str


class WorkerView(Wire, frozen=True, kw_only=True):
    worker_id: str
    name: str
    created_at: UtcTime
    revoked_at: UtcTime | None = None


class WorkerList(Wire, frozen=True, kw_only=True):
    """``GET /api/workers``, oldest first, revoked ones too."""

    workers: tuple[WorkerView, ...]
