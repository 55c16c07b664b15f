from __future__ import annotations

from datetime import UTC, datetime

import pytest

from edgeproof.cli.ages import age

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("2026-11-21T12:00:00.000000Z", "0 s ago"),
        ("2026-11-21T11:59:47.100000Z", "12 s ago"),
        ("2026-11-21T11:59:00.000001Z", "59 s ago"),
        ("2026-11-21T11:59:00Z", "1 min ago"),
        ("2026-11-21T11:00:01Z", "59 min ago"),
        ("2026-11-21T11:00:00Z", "1 h ago"),
        ("2026-11-19T12:00:01Z", "47 h ago"),
        ("2026-11-19T12:00:00Z", "2 d ago"),
        ("2025-11-21T12:00:00Z", "365 d ago"),
        # A clock that is a little behind shows nothing, one that is far behind shows it.
        ("2026-11-21T12:00:59.900000Z", "0 s ago"),
        ("2026-11-21T12:50:00Z", "in 50 min"),
    ],
)
def test_an_age_is_told_in_one_unit(at: str, said: str) -> None:
    assert age(at, NOW) == said
