"""The run queue as operators see it: how it stands, and its dead letters."""

from __future__ import annotations

from edgeproof.contract.base import Wire
from edgeproof.contract.ids import UtcTime
from edgeproof.contract.jobs import JobError
from edgeproof.contract.runners import Needs


class DeadLetter(Wire, frozen=True, kw_only=True):
    """A run that failed for want of attempts. ``retried_by`` is the job that does its job's work again."""

    run_id: str
    job_id: str
    stage: str
    role: str
    attempts: int
    runner_id: str | None
    failure: JobError
    finished_at: UtcTime
    retried_by: str | None = None


class DeadLetterPage(Wire, frozen=True, kw_only=True):
    """``GET /api/queue/dead``: newest first; ``next_cursor`` is None on the last page."""

    runs: tuple[DeadLetter, ...]
    next_cursor: str | None = None


class ClassStats(Wire, frozen=True, kw_only=True):
    """What waits for one kind of runner. ``runners`` fit and are at work; the oldest has waited
    ``oldest_seconds``."""

    class_id: int
    needs: Needs
    pending: int
    leased: int
    runners: int
    oldest_seconds: float | None


class QueueStats(Wire, frozen=True, kw_only=True):
    """``GET /api/queue/stats``. ``expired`` of the ``leased`` runs were not heard of within their lease."""

    pending: int
    leased: int
    expired: int
    dead: int
    active_runners: int
    draining_runners: int
    quarantined_runners: int
    classes: tuple[ClassStats, ...]
