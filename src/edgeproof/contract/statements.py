"""The closed list of in-toto statements (https://in-toto.io/Statement/v1) that Edgeproof signs.

| predicate | signed by | subject |
|---|---|---|
| job spec | control plane | the run's inputs |
| build (SLSA provenance v1) | the runner | the artifact built |
| measurement | the runner | both artifacts measured |
| decision | control plane | the candidate artifact |
"""

from __future__ import annotations

from typing import Final, Literal, TypeVar

from msgspec import field

from edgeproof.contract.base import Signed
from edgeproof.contract.canonical import decode_canonical
from edgeproof.contract.comparison import Comparison, DeploymentDecision, GuardAnalysis
from edgeproof.contract.envelope import PublicKey, open_envelope
from edgeproof.contract.errors import Refused
from edgeproof.contract.ids import Base64Key, Digest, IdText, UtcTime
from edgeproof.contract.requests import Precision
from edgeproof.contract.results import ForgeManifest, ForgeMetadata, RuntimeResult, WorkerRuntimeSummary
from edgeproof.contract.runners import Isolation

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
JOB_SPEC_TYPE: Final = "urn:edgeproof:job-spec:v1"
BUILD_TYPE: Final = "https://slsa.dev/provenance/v1"
MEASUREMENT_TYPE: Final = "urn:edgeproof:measurement:v1"
DECISION_TYPE: Final = "urn:edgeproof:decision:v1"
SLSA_BUILD_TYPE: Final = "urn:edgeproof:build:v1"


class DigestSet(Signed, frozen=True, kw_only=True):
    sha256: Digest


class Resource(Signed, frozen=True, kw_only=True):
    """An in-toto resource descriptor: a name and a digest."""

    name: str
    digest: DigestSet


def resource(name: str, sha256: str) -> Resource:
    return Resource(name=name, digest=DigestSet(sha256=sha256))


# --- job spec -----------------------------------------------------------------------------------


class ForgeConfig(Signed, frozen=True, kw_only=True, tag_field="stage", tag="forge"):
    """One build. ``calibration`` is the digest of the calibration set, only for int8 static."""

    role: Literal["baseline", "candidate"]
    backend: str
    target: str
    preset: str
    precision: Precision
    source: Digest
    source_name: str
    calibration: Digest | None
    input_shapes: dict[str, tuple[int, ...]]
    batch: int | None
    height: int | None
    width: int | None


class MeasuredArtifact(Signed, frozen=True, kw_only=True):
    """One side of a duet: the artifact, and the envelope of the build that made it.

    A candidate that came as an artifact has no build: it is measured as it came, and ``source`` is itself.
    """

    artifact: Digest
    build: Digest | None
    source: Digest
    precision: Precision
    model_name: str


class DuetPlan(Signed, frozen=True, kw_only=True):
    """The measuring protocol, in full. ``gates`` maps a latency metric to its margin in percent.

    Each pair is two fresh processes, ``blocks`` counted blocks of each, ``calls_per_block`` counted calls a
    block after ``settle_calls`` uncounted ones; ``calls_per_block`` 0 lets the runner choose from the
    model's speed. A block whose wait for a processor differs from the other side's by more than
    ``load_difference`` (a share of its time; ``domain.contamination``) does not count and is repeated;
    a pair has ``repeats`` blocks for that. Warm-up goes on in windows of half of ``warmup_calls``, but
    never of less than 5 calls, until two in a row agree within ``warmup_tolerance_pct``, for
    ``warmup_windows`` windows at most (``domain.warmup``); 0 ``warmup_calls`` is none. The runner may stop
    at a planned look once every gate is decided, or one found a regression.
    """

    looks: tuple[int, ...]
    confidence: float
    gates: dict[str, float]
    blocks: int
    calls_per_block: int
    repeats: int
    load_difference: float
    settle_calls: int
    warmup_calls: int
    warmup_windows: int
    warmup_tolerance_pct: float


class RuntimeConfig(Signed, frozen=True, kw_only=True, tag_field="stage", tag="runtime"):
    """One duet. ``dataset`` None measures on seeded random inputs and reports agreement only."""

    backend: str
    target: str
    threads: int
    baseline: MeasuredArtifact
    candidate: MeasuredArtifact
    dataset: Digest | None
    input_shapes: dict[str, tuple[int, ...]]
    batch: int | None
    height: int | None
    width: int | None
    plan: DuetPlan
    min_isolation: Isolation


StageConfig = ForgeConfig | RuntimeConfig


class RunLimits(Signed, frozen=True, kw_only=True):
    """``max_upload_bytes`` bounds each uploaded artifact; memory is that of one stage's processes."""

    max_seconds: int
    max_memory_bytes: int
    max_upload_bytes: int


class JobSpec(Signed, frozen=True, kw_only=True):
    """What a runner is told to do, bound to one lease. ``model`` and ``tasks`` as seed 003."""

    run_id: IdText
    job_id: IdText
    stage: str
    attempt: int
    lease_digest: Digest
    runner_key: Base64Key
    control_plane_key: Base64Key
    model: str
    tasks: tuple[str, ...]
    config: StageConfig
    policy_digest: Digest
    limits: RunLimits
    issued_at: UtcTime
    expires_at: UtcTime


# --- what runners sign ---------------------------------------------------------------------------


class Binding(Signed, frozen=True, kw_only=True):
    """Ties a runner's statement to one lease of one run, on one boot of one device."""

    job_id: IdText
    run_id: IdText
    attempt: int
    lease_digest: Digest
    job_spec: Digest
    runner_key: Base64Key
    nonce: Digest
    boot_id: str
    created_at: UtcTime


class CacheOrigin(Signed, frozen=True, kw_only=True):
    """A cache hit: the build that really ran, earlier, on the same runner."""

    build_id: str
    built_at: UtcTime


class BuildParameters(Signed, frozen=True, kw_only=True):
    """SLSA ``externalParameters``: what the job spec asked for."""

    config: ForgeConfig


class BuildInternals(Signed, frozen=True, kw_only=True):
    """SLSA ``internalParameters``: the lease it was done under and what the toolchain reports."""

    binding: Binding
    metadata: ForgeMetadata
    manifest: ForgeManifest
    worker_runtime_summary: WorkerRuntimeSummary
    cached: CacheOrigin | None
    isolation: Isolation


class BuildDefinition(Signed, frozen=True, kw_only=True):
    buildType: Literal["urn:edgeproof:build:v1"]
    externalParameters: BuildParameters
    internalParameters: BuildInternals
    resolvedDependencies: tuple[Resource, ...]


class Builder(Signed, frozen=True, kw_only=True):
    id: str
    version: dict[str, str]


class BuildMetadata(Signed, frozen=True, kw_only=True):
    invocationId: str
    startedOn: UtcTime
    finishedOn: UtcTime


class RunDetails(Signed, frozen=True, kw_only=True):
    builder: Builder
    metadata: BuildMetadata


class Build(Signed, frozen=True, kw_only=True):
    """SLSA provenance v1 (https://slsa.dev/spec/v1.0/provenance)."""

    buildDefinition: BuildDefinition
    runDetails: RunDetails


class EnvironmentSnapshot(Signed, frozen=True, kw_only=True, omit_defaults=True):
    """The device at one moment; None, or an empty tuple, where the device does not tell.

    ``max_frequency_mhz`` are the highest frequencies that its processors are allowed just now, each once,
    ascending. ``waits_told``: its kernel counts how long threads wait for a processor; where it does not,
    every block's ``wait`` is 0 and means nothing.
    """

    at: UtcTime
    governor: str | None
    frequency_mhz: tuple[float, ...]
    temperature_c: float | None
    throttle_count: int | None
    load_1m: float
    memory_available_bytes: int
    swap_used_bytes: int
    versions: dict[str, str]
    power_mode: str | None = None
    max_frequency_mhz: tuple[float, ...] = ()
    waits_told: bool = True


class NoiseFloor(Signed, frozen=True, kw_only=True):
    """What the device shows where there is no difference: a model against itself, by the same protocol.

    ``floor_pct`` is, per latency metric, how far the 95 % interval of the ratio of process pairs reaches from
    1, in percent: the median of up to three draws of the last day (of two the wider), of ``pairs`` pairs in
    all. It holds under ``conditions``: the digest of backend, target, threads,
    versions, processor, governor, power mode, and the magnitude of the model's latency. ``background`` is the
    median share (0 to 1) of a block's time that those pairs waited for a processor: it says nothing of a
    device that bears more. It is the runner's word.
    """

    conditions: Digest
    background: float
    pairs: int
    floor_pct: dict[str, float]
    measured_at: UtcTime


class Measurement(Signed, frozen=True, kw_only=True):
    """What the runner measured. ``raw_samples`` and ``raw_quality`` name artifacts."""

    binding: Binding
    config: RuntimeConfig
    isolation: Isolation
    baseline: RuntimeResult
    candidate: RuntimeResult
    raw_samples: Digest
    raw_quality: Digest
    noise: NoiseFloor
    environment_before: EnvironmentSnapshot
    environment_after: EnvironmentSnapshot


# --- decision ------------------------------------------------------------------------------------

EvidenceKind = Literal["job-spec", "build", "measurement", "samples", "quality", "policy", "receipt"]


class EvidenceRef(Signed, frozen=True, kw_only=True):
    """SHA-256 of a document's bytes: an envelope's, the raw data's or the policy's."""

    kind: EvidenceKind
    digest: Digest


class DecisionStatement(Signed, frozen=True, kw_only=True):
    """The decision predicate. It has no time and no randomness: the same evidence gives the same bytes."""

    job_id: IdText
    deployment_decision: DeploymentDecision
    comparison: Comparison
    guard_analysis: GuardAnalysis | None
    evidence: tuple[EvidenceRef, ...]


# --- statements ----------------------------------------------------------------------------------


class _Statement(Signed, frozen=True, kw_only=True):
    subject: tuple[Resource, ...]


class JobSpecStatement(_Statement, frozen=True, kw_only=True):
    type_: Literal["https://in-toto.io/Statement/v1"] = field(default=STATEMENT_TYPE, name="_type")
    predicateType: Literal["urn:edgeproof:job-spec:v1"] = JOB_SPEC_TYPE
    predicate: JobSpec


class BuildStatement(_Statement, frozen=True, kw_only=True):
    type_: Literal["https://in-toto.io/Statement/v1"] = field(default=STATEMENT_TYPE, name="_type")
    predicateType: Literal["https://slsa.dev/provenance/v1"] = BUILD_TYPE
    predicate: Build


class MeasurementStatement(_Statement, frozen=True, kw_only=True):
    type_: Literal["https://in-toto.io/Statement/v1"] = field(default=STATEMENT_TYPE, name="_type")
    predicateType: Literal["urn:edgeproof:measurement:v1"] = MEASUREMENT_TYPE
    predicate: Measurement


class DecisionEnvelopeStatement(_Statement, frozen=True, kw_only=True):
    type_: Literal["https://in-toto.io/Statement/v1"] = field(default=STATEMENT_TYPE, name="_type")
    predicateType: Literal["urn:edgeproof:decision:v1"] = DECISION_TYPE
    predicate: DecisionStatement


S = TypeVar("S", JobSpecStatement, BuildStatement, MeasurementStatement, DecisionEnvelopeStatement)


def open_statement(data: bytes, key: PublicKey, type_: type[S], *, what: str) -> S:
    """Envelope bytes in, a verified statement of the demanded type out. Raises ``Refused``."""
    try:
        payload = open_envelope(data, key)
    except Refused as error:
        raise Refused(error.code, f"{what}: {error.detail}") from error
    try:
        return decode_canonical(payload, type_, what=what)
    except Refused as error:
        raise Refused("statement_invalid", error.detail) from error
