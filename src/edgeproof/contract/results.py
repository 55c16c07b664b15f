"""What forge and runtime hand over: metadata, manifest, summary (seed 000), and the runtime result.

Field lists: the seed's tables and the reference's sections 1 and 5. All of it travels in signed
payloads, so every struct is closed.
"""

from __future__ import annotations

from typing import Literal

from edgeproof.contract.base import Signed
from edgeproof.contract.ids import Digest, UtcTime
from edgeproof.contract.requests import Precision


class SourceModel(Signed, frozen=True, kw_only=True):
    path: str
    format: str
    sha256: Digest


class BuildIdentity(Signed, frozen=True, kw_only=True):
    build_id: str
    timestamp: UtcTime
    preset_name: str
    backend: str
    target: str


class BuiltArtifact(Signed, frozen=True, kw_only=True):
    path: str
    format: str
    role: Literal["deployment_model"]
    sha256: Digest
    size_bytes: int


class Handoff(Signed, frozen=True, kw_only=True):
    consumer: str
    ready: bool


class LabRuntimeProfile(Signed, frozen=True, kw_only=True):
    engine: str
    device: str
    precision: Precision
    engine_path: str
    runtime_artifact_path: str
    requested_batch: int | None
    requested_height: int | None
    requested_width: int | None


class LabCompat(Signed, frozen=True, kw_only=True):
    profile_ready: bool
    runtime: LabRuntimeProfile


class PresetSnapshot(Signed, frozen=True, kw_only=True):
    """``build_options`` are the exact flags of the toolchain, as text."""

    name: str
    backend: str
    target: str
    build_options: dict[str, str]
    metadata: dict[str, str]


class ForgeMetadata(Signed, frozen=True, kw_only=True):
    """``metadata.json``, schema 0.1.0."""

    schema_version: Literal["0.1.0"]
    build: BuildIdentity
    source_model: SourceModel
    artifacts: tuple[BuiltArtifact, ...]
    handoff: Handoff
    lab_compat: LabCompat
    preset_snapshot: PresetSnapshot


class ManifestArtifact(Signed, frozen=True, kw_only=True):
    path: str
    format: str
    role: Literal["deployment_model"]
    sha256: Digest
    model_path: str
    model_name: str
    precision: Precision


class ManifestRuntime(Signed, frozen=True, kw_only=True):
    engine: str
    device: str
    precision: Precision
    model_path: str
    artifact_path: str
    batch: int | None
    height: int | None
    width: int | None
    input_shapes: dict[str, tuple[int, ...]]


class ManifestTool(Signed, frozen=True, kw_only=True):
    """Versions of what built it; ``calibration_sha256`` is null unless int8 static."""

    inferedgeforge_version: str
    python_version: str
    versions: dict[str, str]
    calibration_sha256: Digest | None


class ForgeManifest(Signed, frozen=True, kw_only=True):
    """``manifest.json``, ``inferedgeforge-manifest-v1``."""

    schema_version: Literal["inferedgeforge-manifest-v1"]
    build: BuildIdentity
    source_model: SourceModel
    artifact: ManifestArtifact
    runtime: ManifestRuntime
    preset_snapshot: PresetSnapshot
    tool: ManifestTool


class WorkerRuntimeSummary(Signed, frozen=True, kw_only=True):
    """Forge's compact hand-over; seed 000's mapping table reads it."""

    source_model_path: str
    source_model_sha256: Digest
    backend: str
    target: str
    precision: Precision
    artifact_path: str
    artifact_sha256: Digest
    artifact_type: str
    preset_name: str
    build_id: str
    batch: int | None
    height: int | None
    width: int | None
    metadata_path: str | None
    manifest_path: str | None


class LatencySummary(Signed, frozen=True, kw_only=True):
    """Milliseconds over all counted calls of one side; percentiles by linear interpolation."""

    mean: float
    min: float
    max: float
    std: float
    p50: float
    p90: float
    p95: float
    p99: float
    samples: int


class RunConfig(Signed, frozen=True, kw_only=True):
    """``warmup`` and ``runs`` are calls per block that are not, and are, counted."""

    warmup: int
    runs: int
    blocks: int
    pairs: int
    threads: int
    mode: Literal["duet"]
    task: str
    input_source: Literal["dataset", "random"]


class SystemInfo(Signed, frozen=True, kw_only=True):
    os: str
    python: str
    machine: str
    cpu_model: str
    cpu_count_logical: int
    memory_bytes: int


class ColdStart(Signed, frozen=True, kw_only=True):
    """Medians over process starts, milliseconds."""

    load_ms: float
    first_inference_ms: float


class AccuracyResult(Signed, frozen=True, kw_only=True):
    """``metrics`` has ``top1_accuracy`` (a fraction) for classification."""

    task: str
    metrics: dict[str, float]
    samples: int


class RuntimeExtra(Signed, frozen=True, kw_only=True, omit_defaults=True):
    """``power_mode``, ``governor`` and ``max_clocks`` are the device's (``domain.device_state``), and absent
    where it does not tell them."""

    runtime_artifact_sha256: Digest
    source_model_sha256: Digest
    input_mode: Literal["dataset", "random"]
    measurement: Literal["measured", "estimated", "simulated"]
    power_mode: str | None = None
    governor: str | None = None
    max_clocks: str | None = None


class RuntimeResult(Signed, frozen=True, kw_only=True):
    """One side's result with every field that seed 000 requires of ``runtime_result``.

    ``batch``, ``height`` and ``width`` are null where the model has no such axis; ``input_shapes``
    always says what was fed. Latencies are milliseconds of one inference call, wall clock.
    """

    schema_version: Literal["edgeproof-runtime-result-v1"]
    runtime_role: Literal["runtime-result"]
    model: str
    backend: str
    target: str
    precision: Precision
    batch: int | None
    height: int | None
    width: int | None
    input_shapes: dict[str, tuple[int, ...]]
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    latency_ms: LatencySummary
    fps_value: float
    timestamp: UtcTime
    success: bool
    status: Literal["success"]
    compare_key: str
    backend_key: str
    runtime_artifact_path: str
    artifact_size_bytes: int
    peak_memory_bytes: int
    cold_start: ColdStart
    run_config: RunConfig
    system: SystemInfo
    accuracy: AccuracyResult | None
    extra: RuntimeExtra
