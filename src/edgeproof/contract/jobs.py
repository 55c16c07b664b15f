"""What a user sees: jobs, their runs, their progress and their events."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import structs

from edgeproof.contract.base import Wire
from edgeproof.contract.errors import CODES
from edgeproof.contract.faults import Fault, blame
from edgeproof.contract.ids import IdText, Name, Text, UtcTime

JobStatus = Literal["queued", "running", "completed", "failed", "cancelled"]
RunState = Literal["PENDING", "CLAIMED", "COMPLETE", "FAILED", "CANCELLED"]
EventType = Literal["status", "progress", "log", "artifact", "metadata"]


class Progress(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """``{completed, total?, unit, message?}`` everywhere (DESIGN decision 20)."""

    completed: int
    unit: Name
    total: int | None = None
    message: Text | None = None


class JobError(Wire, frozen=True, kw_only=True):
    """Structured details of a failed job: whose ``fault``, and whether the same again may end otherwise."""

    code: str
    message: str
    stage: str
    evidence: tuple[dict[str, Any], ...] = ()
    fault: Fault | None = None
    retryable: bool | None = None

    def attributed(self) -> JobError:
        """With ``fault`` and ``retryable`` as is usual for the code, where nobody knew better."""
        if self.fault is not None and self.retryable is not None:
            return self
        usual = blame(self.code, CODES[self.code].status if self.code in CODES else 500)
        return structs.replace(
            self,
            fault=self.fault or usual.fault,
            retryable=usual.retryable if self.retryable is None else self.retryable,
        )


class RunView(Wire, frozen=True, kw_only=True):
    """One run as its job shows it. ``waiting_for`` names needs that no registered runner meets,
    each with what the one that comes nearest has instead.

    ``status_text`` is what the runner says that it does, while it holds the run.
    ``queue_position`` counts from 1 among the runs that wait for the same kind of runner; 200 stands for 200
    and more. Lists of jobs do not count it.
    """

    run_id: str
    stage: str
    role: str
    state: RunState
    attempt: int
    runner_id: str | None = None
    progress: Progress | None = None
    waiting_for: tuple[str, ...] = ()
    queue_position: int | None = None
    status_text: str | None = None


class Withdrawal(Wire, frozen=True, kw_only=True):
    """A decision that counts no more: it rests on evidence received from ``runner_key`` (base64) since it was
    compromised. ``signed_decision`` is what was signed, and stays in the evidence."""

    at: UtcTime
    by: str
    reason: str
    runner_key: str
    compromised_since: UtcTime
    signed_decision: str | None


class JobView(Wire, frozen=True, kw_only=True):
    """``GET /api/jobs/{id}``; field names as seed 000, then ours.

    Once ``withdrawn``, the decision in ``result`` reads ``review_required``, whatever was signed.
    ``waiting_for`` names what no registered runner has for the measurement, while no run is that yet; what
    runs wait for, they say themselves.
    """

    job_id: str
    status: JobStatus
    created_at: UtcTime
    updated_at: UtcTime
    input_summary: dict[str, Any]
    result: dict[str, Any] | None
    error: JobError | None
    links: dict[str, str]
    next_actions: tuple[str, ...]
    cancel_requested_at: UtcTime | None = None
    withdrawn: Withdrawal | None = None
    runs: tuple[RunView, ...] = ()
    retry_of: IdText | None = None
    waiting_for: tuple[str, ...] = ()


class JobPage(Wire, frozen=True, kw_only=True):
    """``GET /api/jobs``: newest first; ``next_cursor`` is None on the last page."""

    jobs: tuple[JobView, ...]
    next_cursor: str | None = None


class JobFilter(Wire, frozen=True, kw_only=True):
    """What a listing of jobs shows; None: all. ``owner`` is for admins; ``policy`` is a name or a digest."""

    status: JobStatus | None = None
    workflow: Name | None = None
    owner: Name | None = None
    policy: Name | None = None


class JobEvent(Wire, frozen=True, kw_only=True):
    """One SSE event; ``seq`` is its id and increases by one within a job."""

    seq: int
    type: EventType
    at: UtcTime
    data: dict[str, Any]


class Health(Wire, frozen=True, kw_only=True):
    """``GET /health``."""

    status: Literal["ok"]
    service: str
    version: str
    server_key: str


class Readiness(Wire, frozen=True, kw_only=True):
    """``GET /ready``, where it is."""

    status: Literal["ready"]


class ArtifactInfo(Wire, frozen=True, kw_only=True):
    """Answer to an upload."""

    digest: str
    size: int


class EvidenceItem(Wire, frozen=True, kw_only=True):
    """One document a job's decision rests on; its bytes are the artifact with that digest."""

    kind: str
    digest: str


class EvidenceList(Wire, frozen=True, kw_only=True):
    """``GET /api/jobs/{id}/evidence``."""

    job_id: str
    items: tuple[EvidenceItem, ...]
