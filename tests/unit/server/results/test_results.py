"""A result's own time is read where it is one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from edgeproof.server.results.results import stated_time

AT = datetime(2026, 5, 1, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["2026-05-01T10:00:00Z", "2026-05-01T12:00:00+02:00", "2026-05-01 10:00:00", "20260501T100000Z"]
)
def test_a_time_is_utc(text: str) -> None:
    assert stated_time(text) == AT


@pytest.mark.parametrize("text", [None, "", "yesterday", "2026-13-01", "0001-01-01T00:00:00+23:00"])
def test_anything_else_is_none(text: str | None) -> None:
    assert stated_time(text) is None
