"""Into the audit log: an entry goes in within the act's own transaction, unlinked; ``audit_seal`` chains it.

On the queue's hot path the entry is part of the statement that does the act (``queue_sql``); everything else
calls ``record``. What acts there are, ``docs/operations.md`` lists.
"""

from __future__ import annotations

from typing import Any, Final

from edgeproof.server.db.database import Connection

CONTROL_PLANE: Final = "control-plane"
"""The actor where no principal asked: the reaper, the lab."""

_RECORD: Final = "INSERT INTO audit_log (actor, act, subject, data) VALUES ($1, $2, $3, $4)"


async def record(
    connection: Connection, actor: str, act: str, subject: str, data: dict[str, Any] | None = None
) -> None:
    """Add an entry, to be kept if and only if the transaction commits. ``data``: texts and whole numbers."""
    await connection.execute(_RECORD, actor, act, subject, data or {})
