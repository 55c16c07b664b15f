"""The job's state machine, as a table (seed 000: queued, running, completed, failed, cancelled)."""

from __future__ import annotations

from typing import Final

from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobStatus

TRANSITIONS: Final[dict[JobStatus, frozenset[JobStatus]]] = {
    "queued": frozenset({"running", "cancelled", "failed"}),
    "running": frozenset({"completed", "failed", "cancelled"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
TERMINAL: Final = frozenset(status for status, after in TRANSITIONS.items() if not after)

NEXT_ACTIONS: Final[dict[JobStatus, tuple[str, ...]]] = {
    "queued": ("poll_job", "cancel_job"),
    "running": ("poll_job", "cancel_job"),
    "completed": ("review_deployment_decision",),
    "failed": ("inspect_error", "create_new_job"),
    "cancelled": ("create_new_job",),
}


def move(current: JobStatus, wanted: JobStatus) -> JobStatus:
    """``wanted``, if the table allows it. Raises ``Refused`` (``job_terminal`` or ``conflict``)."""
    if wanted in TRANSITIONS[current]:
        return wanted
    code = "job_terminal" if current in TERMINAL else "conflict"
    raise Refused(code, f"a {current} job cannot become {wanted}")
