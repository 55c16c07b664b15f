"""The wire form of times is the contract's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec

from edgeproof.contract.ids import UtcTime
from edgeproof.server.db.times import utc_text


def test_times_are_told_in_utc_with_z() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=timezone(timedelta(hours=2)))
    assert utc_text(at) == "2026-01-02T01:04:05.000600Z"
    assert (
        msgspec.convert(utc_text(datetime(2026, 1, 1, tzinfo=UTC)), UtcTime) == "2026-01-01T00:00:00.000000Z"
    )
