"""The wire form of the database's times. It reads no clock."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_text(at: datetime) -> str:
    """RFC 3339 in UTC with microseconds and ``Z`` (``contract.ids.UtcTime``)."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
