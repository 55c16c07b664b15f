"""Exit codes (DESIGN decision 21) and the one place where an error becomes one."""

from __future__ import annotations

from typing import Any, Final

from edgeproof.contract.errors import EdgeproofError, Refused
from edgeproof.contract.jobs import JobView

DEPLOYABLE: Final = 0
NO_OBJECTION: Final = 0
"""Of what is no decision."""
ERROR: Final = 1
BLOCKED: Final = 2
REVIEW: Final = 3
USAGE: Final = 64
CONFIGURATION: Final = 78
"""Of ``runner start`` alone, as sysexits.h has it: an operator has to act before another start helps."""
INTERRUPTED: Final = 130

OPERATORS: Final = frozenset(
    {
        "not_joined", "fingerprint_required", "insecure_url", "key_not_allowed", "home_unusable",
        "runner_key_damaged", "network_settings",
    }
)  # fmt: skip
"""The errors that ``CONFIGURATION`` tells of."""
MISTYPED: Final = frozenset({"unknown_backend"})
"""The errors of ``runner start`` that are wrong usage."""

_DECISIONS: Final = {
    "deployable": DEPLOYABLE,
    "deployable_with_note": DEPLOYABLE,
    "blocked": BLOCKED,
    "review_required": REVIEW,
    "unknown": REVIEW,
}


def of_start(error: Refused) -> int:
    """Of ``runner start``, for whoever would start it again."""
    if error.code in MISTYPED:
        return USAGE
    return CONFIGURATION if error.code in OPERATORS else ERROR


def of_decision(decision: dict[str, Any]) -> int:
    """By what a signed decision says; whatever is unsigned is 3, always (DESIGN decision 12)."""
    if decision.get("basis") != "signed":
        return REVIEW
    return _DECISIONS.get(str(decision.get("decision")), REVIEW)


def of_job(job: JobView) -> int:
    """A job without a decision, failed or cancelled, is an error."""
    if job.status != "completed" or job.result is None:
        return ERROR
    return of_decision(job.result.get("deployment_decision", {}))


def of_reading(job: JobView) -> int:
    """For commands that only show a job: 3 for a decision that is unsigned or withdrawn, else 0."""
    if job.withdrawn is not None:
        return REVIEW
    decision = {} if job.result is None else job.result.get("deployment_decision", {})
    return REVIEW if decision and decision.get("basis") != "signed" else DEPLOYABLE


def lines(error: EdgeproofError) -> list[str]:
    """What a terminal is told of it."""
    return [
        f"error: {error.detail} [{error.code}]",
        *(f"  {one.path}: {one.message}" for one in error.errors),
    ]
