"""The wire form of the database's times. It reads no clock."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_text(at: datetime) -> str:
    """RFC 3339 in UTC with microseconds and ``Z`` (``contract.ids.UtcTime``)."""
    # Without a zone come PostgreSQL's infinities alone: asyncpg keeps the first and last instant as those.
    known = at.astimezone(UTC) if at.tzinfo else at
    return known.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
