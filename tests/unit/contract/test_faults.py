"""Whose fault a failure is: the table, and what a job's error makes of it."""

from __future__ import annotations

import pytest

from edgeproof.contract.errors import CODES, StageFailed
from edgeproof.contract.faults import BLAMES, blame
from edgeproof.contract.jobs import JobError


def test_only_registered_codes_have_a_blame() -> None:
    assert set(BLAMES) <= set(CODES)


@pytest.mark.parametrize(
    ("code", "fault", "retryable"),
    [
        ("model_invalid", "user", False),
        ("stage_crashed", "backend", False),
        ("backend_missing", "device", True),
        ("isolation_unavailable", "device", True),
        ("disk_full", "device", True),
        ("lease_expired", "infrastructure", True),
        ("quota_exceeded", "infrastructure", True),
        ("artifact_lost", "infrastructure", False),
        ("internal_error", "infrastructure", False),
        ("invalid_request", "user", False),
    ],
)
def test_a_failure_is_attributed_by_its_code(code: str, fault: str, retryable: bool) -> None:
    failed = StageFailed(code)
    assert (failed.fault, failed.retryable) == (fault, retryable)
    error = JobError(code=code, message="", stage="forge").attributed()
    assert (error.fault, error.retryable) == (fault, retryable)


def test_who_knows_better_is_believed() -> None:
    failed = StageFailed("stage_crashed", fault="infrastructure", retryable=True)
    assert (failed.fault, failed.retryable) == ("infrastructure", True)
    half = JobError(code="stage_crashed", message="", stage="forge", retryable=True).attributed()
    assert (half.fault, half.retryable) == ("backend", True)
    told = JobError(code="disk_full", message="", stage="forge", fault="user", retryable=False)
    assert told.attributed() == told


def test_a_code_of_another_release_is_infrastructure() -> None:
    assert JobError(code="of_another_release", message="", stage="x").attributed().fault == "infrastructure"
    assert blame("of_another_release", 400) == ("user", False)
