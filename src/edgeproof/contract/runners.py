"""Runners: capabilities, registration, and the run queue's messages (seed 003).

The lease travels in the header ``Edgeproof-Lease: <attempt>.<token>`` and never in a body.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, field

from edgeproof.contract.base import Wire
from edgeproof.contract.errors import Problem
from edgeproof.contract.faults import Fault
from edgeproof.contract.ids import Base64Key, Digest, IdText, LabelKey, LabelValue, Name, UtcTime
from edgeproof.contract.jobs import Progress, RunState

LEASE_HEADER: Final = "Edgeproof-Lease"
PROOF_HEADER: Final = "Edgeproof-Proof"
"""``<nonce>.<base64url signature>`` on a registration that answers a challenge."""
REGISTER_DOMAIN: Final = "edgeproof-register-v1"

STANDING_HEADER: Final = "Edgeproof-Standing"
"""``draining`` or ``quarantined``, on the 204 of a claim whose runner is not to work."""
MAX_BATCH: Final = 64
MAX_HOLDING: Final = 64
"""Runs that a claim may name as still worked on."""

MAX_LABELS: Final = 64

MAX_STATUS: Final = 200
"""Characters of a heartbeat's status."""

STAGES: Final = ("forge", "runtime")
"""What runs of an analysis do."""

RunnerStanding = Literal["active", "draining", "quarantined"]
Isolation = Literal["none", "rlimit", "namespaces"]
ISOLATION_ORDER: Final[tuple[Isolation, ...]] = ("none", "rlimit", "namespaces")


class EngineCapability(Wire, frozen=True, kw_only=True):
    """A backend or toolchain that a runner has, as detected.

    ``quantizations`` are the schemes that it can make (toolchain) or execute (backend), e.g. ``int8_static``.
    None is a runner's word from before there was this field: its precisions alone count.
    """

    name: Name
    version: Name
    targets: tuple[Name, ...] = ()
    precisions: tuple[Name, ...] = ()
    quantizations: tuple[Name, ...] | None = None


class Gpu(Wire, frozen=True, kw_only=True):
    """As its driver tells; ``compute_capability`` is NVIDIA's, e.g. ``9.0``."""

    name: Annotated[str, Meta(max_length=200)]
    memory_bytes: int
    driver: Annotated[str, Meta(max_length=100)]
    compute_capability: Annotated[str, Meta(max_length=20)] | None = None


class Capabilities(Wire, frozen=True, kw_only=True):
    """What a runner can do. ``memory_bytes`` is physical memory; ``device_class`` e.g. ``linux-x86_64``.

    ``cpu_features`` go by the kernel's names (``avx2``, ``asimddp`` …). ``labels`` are the operator's.
    """

    device_class: Name
    cpu_count: int
    memory_bytes: int
    isolation: Isolation
    backends: Annotated[tuple[EngineCapability, ...], Meta(max_length=64)] = ()
    toolchains: Annotated[tuple[EngineCapability, ...], Meta(max_length=64)] = ()
    labels: Annotated[dict[LabelKey, LabelValue], Meta(max_length=MAX_LABELS)] = field(default_factory=dict)
    cpu_features: Annotated[tuple[Name, ...], Meta(max_length=256)] = ()
    gpus: Annotated[tuple[Gpu, ...], Meta(max_length=64)] = ()


class Needs(Wire, frozen=True, kw_only=True):
    """What a run demands of a runner; its canonical bytes name a requirement class.

    ``min_memory_bytes`` is physical memory, ``min_vram_bytes`` that of one GPU; 0 demands none. Of each label
    the runner's value must be one of those named.
    """

    stage: Name
    backend: Name
    target: Name
    precisions: tuple[Name, ...]
    min_memory_bytes: int = 0
    min_isolation: Isolation = "none"
    device_class: Name | None = None
    min_vram_bytes: int = 0
    quantizations: tuple[Name, ...] = ()
    labels: dict[LabelKey, tuple[LabelValue, ...]] = field(default_factory=dict)


class RegisterRequest(Wire, frozen=True, kw_only=True):
    """``POST /api/runners/register``. Without a proof the answer is 401 with a nonce."""

    public_key: Base64Key
    hostname: Annotated[str, Meta(min_length=1, max_length=253)]
    capabilities: Capabilities
    enrolment_token: Annotated[str, Meta(max_length=200)] | None = None


class RegisterResponse(Wire, frozen=True, kw_only=True):
    runner_id: str
    token: str
    expires_at: UtcTime
    server_key: str


class ClaimRequest(Wire, frozen=True, kw_only=True):
    """``POST /api/queue/claim``; waits up to ``wait_seconds`` for work, else 204.

    With ``max_runs`` the answer is ``{"runs": [...]}`` with as many as there are up to that; of runs that
    measure (stage ``runtime``) a runner holds one at a time. ``unfit`` is what a failed health check of the
    runner's own says: it is quarantined.

    ``holding`` are the runs that the runner still works on. Any other lease of its key is one that it does
    not know of (it was killed, or a claim's answer was lost): it ends at once. None says nothing: so must
    say whoever holds more than ``MAX_HOLDING``, or claim nothing until it holds fewer.

    ``number`` is greater with every claim that is sent by this key, also when one is sent again. A claim that
    arrives late or twice, when the key has a lease by one of its number or a greater, gets nothing and
    ends nothing. Without it a late claim ends whatever lease it does not name.
    """

    capabilities: Capabilities | None = None
    wait_seconds: Annotated[float, Meta(ge=0, le=30)] = 0.0
    holding: Annotated[tuple[IdText, ...], Meta(max_length=MAX_HOLDING)] | None = None
    max_runs: Annotated[int, Meta(ge=1, le=MAX_BATCH)] | None = None
    number: Annotated[int, Meta(ge=0, le=2**53 - 1)] | None = None
    unfit: Annotated[str, Meta(min_length=1, max_length=500)] | None = None


class ClaimedRun(Wire, frozen=True, kw_only=True):
    """A lease. ``job_spec`` is the signed envelope as text: its canonical bytes, unchanged."""

    run_id: str
    job_id: str
    stage: str
    attempt: int
    lease_token: str
    lease_expires_at: UtcTime
    heartbeat_seconds: float
    job_spec: str


class ClaimedRuns(Wire, frozen=True, kw_only=True):
    """The answer to a claim with ``max_runs``."""

    runs: tuple[ClaimedRun, ...]


class HeartbeatRequest(Wire, frozen=True, kw_only=True):
    """``status`` says in a few words what the runner does; what is None stays as it was told before."""

    progress: Progress | None = None
    status: Annotated[str, Meta(max_length=MAX_STATUS)] | None = None


class HeartbeatResponse(Wire, frozen=True, kw_only=True):
    cancel_requested: bool
    lease_expires_at: UtcTime


class SubmitResponse(Wire, frozen=True, kw_only=True):
    run_id: str
    state: RunState
    evidence_digest: str


class FailRequest(Wire, frozen=True, kw_only=True):
    """``POST /api/queue/{run_id}/fail``: whose fault, and whether another attempt may help."""

    code: Annotated[str, Meta(min_length=1, max_length=100)]
    message: Annotated[str, Meta(max_length=4000)]
    fault: Fault
    retryable: bool
    evidence: Annotated[tuple[dict[str, Any], ...], Meta(max_length=50)] = ()


class FailResponse(Wire, frozen=True, kw_only=True):
    run_id: str
    state: RunState


class HeartbeatItem(HeartbeatRequest, frozen=True, kw_only=True):
    """One of a batch; ``lease`` is what the header carries for one: ``<attempt>.<token>``."""

    run_id: IdText
    lease: Annotated[str, Meta(max_length=100)]


class HeartbeatBatch(Wire, frozen=True, kw_only=True):
    """``POST /api/queue/heartbeat``."""

    items: Annotated[tuple[HeartbeatItem, ...], Meta(min_length=1, max_length=MAX_BATCH)]


class BeatenRun(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one item: ``answer``, or ``problem``."""

    run_id: str
    answer: HeartbeatResponse | None = None
    problem: Problem | None = None


class HeartbeatAnswers(Wire, frozen=True, kw_only=True):
    """One for each item, in their order."""

    items: tuple[BeatenRun, ...]


class SubmitItem(Wire, frozen=True, kw_only=True):
    """One of a batch; ``envelope`` is the text of the envelope's bytes as they were signed."""

    run_id: IdText
    lease: Annotated[str, Meta(max_length=100)]
    envelope: str


class SubmitBatch(Wire, frozen=True, kw_only=True):
    """``POST /api/queue/submit``."""

    items: Annotated[tuple[SubmitItem, ...], Meta(min_length=1, max_length=MAX_BATCH)]


class SubmittedRun(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one item: ``answer``, or ``problem``."""

    run_id: str
    answer: SubmitResponse | None = None
    problem: Problem | None = None


class SubmitAnswers(Wire, frozen=True, kw_only=True):
    """One for each item, in their order."""

    items: tuple[SubmittedRun, ...]


class StandingRequest(Wire, frozen=True, kw_only=True):
    """``POST /api/runners/{runner_id}/drain``, ``/quarantine``, ``/release``."""

    reason: Annotated[str, Meta(max_length=1000)] = ""


class StandingView(Wire, frozen=True, kw_only=True):
    """A runner's standing; ``held`` are the runs that it has under a lease."""

    runner_id: str
    standing: RunnerStanding
    reason: str
    since: UtcTime
    held: int


class RunnerView(Wire, frozen=True, kw_only=True):
    """A registered runner. One that is not ``allowed`` has no good key: it gets no work, whatever its
    standing."""

    runner_id: IdText
    hostname: str
    public_key: str
    capabilities: Capabilities
    registered_at: UtcTime
    last_seen_at: UtcTime
    standing: RunnerStanding = "active"
    standing_reason: str = ""
    allowed: bool = True


class RunnerList(Wire, frozen=True, kw_only=True):
    """``GET /api/runners``, by runner id."""

    runners: tuple[RunnerView, ...]


class EnrolmentTokenRequest(Wire, frozen=True, kw_only=True):
    """``POST /api/enrolment-tokens``: how many runners it enrols, and for how long."""

    uses: Annotated[int, Meta(ge=1, le=10_000)] = 1
    ttl_seconds: Annotated[int, Meta(ge=1, le=30 * 86_400)] = 3600


class EnrolmentTokenResponse(Wire, frozen=True, kw_only=True):
    """The token, shown once; only its digest is kept."""

    token: str


class EnrolmentTokenView(Wire, frozen=True, kw_only=True):
    """A token as it is kept: ``digest`` is the SHA-256 of its text. It is good while it has ``uses_left``,
    has not expired and was not revoked."""

    digest: Digest
    uses_left: int
    created_by: str
    created_at: UtcTime
    expires_at: UtcTime
    revoked_at: UtcTime | None = None


class EnrolmentTokenList(Wire, frozen=True, kw_only=True):
    """``GET /api/enrolment-tokens``: the newest 1000, those that are good no more too."""

    tokens: tuple[EnrolmentTokenView, ...]
