"""When a reaper may reap: not at once after it started, not when most leases expired at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from edgeproof.server.queue.reap import Patience

START = datetime(2026, 1, 1, tzinfo=UTC)
LEASE = timedelta(seconds=90)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def rested() -> Patience:
    """A reaper that has waited its first lease and reaped once, at 90 s."""
    patience = Patience(LEASE)
    assert patience.limit(at(0), 10, 10) is None
    assert patience.limit(at(90), 0, 0) == at(90)
    return patience


def test_a_fresh_reaper_waits_one_lease_whatever_it_finds() -> None:
    patience = Patience(LEASE)
    assert patience.limit(at(0), 10, 10) is None
    assert patience.limit(at(89), 10, 1) is None
    assert patience.limit(at(90), 10, 10) == at(90)


def test_single_expiries_are_reaped_at_once() -> None:
    assert rested().limit(at(100), 10, 5) == at(100)


def test_a_mass_expiry_waits_one_lease_and_then_ends_only_what_had_expired_when_it_began() -> None:
    patience = rested()
    assert patience.limit(at(100), 10, 6) is None
    assert patience.limit(at(150), 10, 1) is None
    assert patience.limit(at(190), 10, 10) == at(100)
    assert patience.limit(at(191), 10, 6) is None
    assert patience.limit(at(281), 10, 6) == at(191)


def test_nothing_leased_is_no_mass_expiry() -> None:
    assert rested().limit(at(100), 0, 0) == at(100)
