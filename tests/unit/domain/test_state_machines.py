"""The tables of jobs and runs, and the rules that must stay inside them."""

from __future__ import annotations

import itertools

import pytest

from edgeproof.contract.errors import Refused
from edgeproof.domain import jobs, runs


@pytest.mark.parametrize(("current", "wanted"), list(itertools.product(jobs.TRANSITIONS, repeat=2)))
def test_a_job_moves_as_its_table_says_and_a_terminal_one_never(current, wanted) -> None:
    if wanted in jobs.TRANSITIONS[current]:
        assert jobs.move(current, wanted) == wanted
        return
    with pytest.raises(Refused) as refused:
        jobs.move(current, wanted)
    assert refused.value.code == ("job_terminal" if current in jobs.TERMINAL else "conflict")


def test_what_is_terminal() -> None:
    assert {"completed", "failed", "cancelled"} == jobs.TERMINAL
    assert {"COMPLETE", "FAILED", "CANCELLED"} == runs.TERMINAL


@pytest.mark.parametrize("attempt", [1, 2, 3])
@pytest.mark.parametrize("retryable", [True, False])
@pytest.mark.parametrize("cancelling", [True, False])
def test_a_lease_ends_where_the_table_allows(attempt: int, retryable: bool, cancelling: bool) -> None:
    state = runs.after_lease_ended(attempt, 3, retryable=retryable, cancel_requested=cancelling)
    assert state in runs.TRANSITIONS["CLAIMED"]
    assert state == ("CANCELLED" if cancelling else "PENDING" if retryable and attempt < 3 else "FAILED")


@pytest.mark.parametrize(
    "header",
    [None, "", "1", "1.", ".x", "x." + "a" * 64, "1." + "a" * 63, "-1." + "a" * 64,
     "1." + "a" * 63 + "\ud800", "²." + "a" * 64],
)  # fmt: skip
def test_a_malformed_lease_is_stale(header: str | None) -> None:
    with pytest.raises(Refused) as refused:
        runs.parse_lease(header)
    assert refused.value.code == "stale_lease"


def test_a_lease_is_read_as_it_is_written_and_known_by_its_digest() -> None:
    lease = runs.new_lease(2)
    assert runs.parse_lease(lease.header()) == lease
    assert len(lease.digest) == 64
    assert lease.token not in lease.digest
