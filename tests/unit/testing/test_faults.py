"""What a campaign against the system makes of jobs that failed, and of jobs that nobody ordered."""

from __future__ import annotations

import msgspec
import pytest

from edgeproof.testing.faults import Failure, Report

CLEAN = Report(
    seed=1, accepted=40, completed=40, failed=(), lost=(), doubled=(),
    runs=120, killed={}, attempts={}, seconds=1.0,
)  # fmt: skip
SPENT = Failure(job_id="job_1", code="lease_expired", attempts=(3,), passing=True)


def with_failed(accepted: int, *failed: Failure) -> Report:
    return msgspec.structs.replace(CLEAN, accepted=accepted, completed=accepted - len(failed), failed=failed)


def test_all_completed_is_good() -> None:
    assert CLEAN.good


@pytest.mark.parametrize(
    "changed", [{"lost": ("job_1",)}, {"doubled": ("job_1",)}, {"completed": 39}, {"accepted": 39}]
)
def test_what_is_lost_or_doubled_or_not_accounted_for_is_not(changed: dict[str, object]) -> None:
    assert not msgspec.structs.replace(CLEAN, **changed).good


@pytest.mark.parametrize(
    ("failed", "good"),
    [
        (SPENT, True),
        (Failure(job_id="job_1", code="handed_back", attempts=(6,), passing=True), True),
        (Failure(job_id="job_1", code="lease_expired", attempts=(1,), passing=True), False),
        (Failure(job_id="job_1", code="lease_expired", attempts=(3, 1), passing=True), False),
        (Failure(job_id="job_1", code="result_invalid", attempts=(3,)), False),
        (Failure(job_id="job_1", code="chain_broken"), False),
        (Failure(job_id="job_1", code="cancelled"), False),
    ],
)
def test_a_failed_job_is_good_only_with_every_attempt_lost(failed: Failure, good: bool) -> None:
    assert with_failed(40, failed).good is good


@pytest.mark.parametrize(("accepted", "most"), [(8, 1), (39, 1), (40, 2), (100, 5)])
def test_few_jobs_may_have_lost_every_attempt(accepted: int, most: int) -> None:
    assert with_failed(accepted, *[SPENT] * most).good
    assert not with_failed(accepted, *[SPENT] * (most + 1)).good
