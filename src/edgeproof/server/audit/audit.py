"""The audit log as admins read it: the entries, and the seals that chain them (``audit_seal``)."""

from __future__ import annotations

import base64
from typing import Final

from edgeproof.contract.audit import AuditEntry, AuditList, AuditPage, AuditSeal
from edgeproof.server.db.database import Connection
from edgeproof.server.db.rows import Row
from edgeproof.server.db.times import utc_text
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import require

_LIST: Final = """
SELECT entry_id, at, actor, act, subject, data FROM audit_log
WHERE ($1::bigint IS NULL OR entry_id < $1) AND ($2::text IS NULL OR subject = $2)
    AND ($3::text IS NULL OR actor = $3)
ORDER BY entry_id DESC LIMIT $4
"""
_SEALS: Final = """
SELECT seal, at, entry_ids, digests, entries, head, signature FROM audit_seals
WHERE seal > $1 ORDER BY seal LIMIT $2
"""
_ENTRIES: Final = """
SELECT entry_id, at, actor, act, subject, data FROM audit_log WHERE entry_id = ANY($1::bigint[])
"""
_OUTSIDE: Final = """
SELECT entry_id, at, actor, act, subject, data,
    (entry_id <= last.floor_entry OR xid < last.through_xid) IS TRUE AS stray
FROM audit_log
LEFT JOIN (SELECT floor_entry, through_xid FROM audit_seals ORDER BY seal DESC LIMIT 1) last ON true
WHERE NOT EXISTS (
    SELECT FROM (SELECT unnest(entry_ids) AS sealed FROM audit_seals) all_sealed
    WHERE sealed = audit_log.entry_id
)
ORDER BY entry_id LIMIT 10000
"""


async def list_entries(
    plane: ControlPlane,
    principal: Principal,
    *,
    before: int | None = None,
    subject: str | None = None,
    actor: str | None = None,
    limit: int = 100,
) -> AuditList:
    """Newest first, sealed or not."""
    require(principal, "admin")
    rows = await plane.database.pool.fetch(_LIST, before, subject, actor, limit + 1)
    return AuditList(
        entries=tuple(entry_of(row) for row in rows[:limit]),
        next_before=rows[limit - 1]["entry_id"] if len(rows) > limit else None,
    )


async def sealed_pages(
    plane: ControlPlane, principal: Principal, *, after: int = 0, limit: int = 5
) -> AuditPage:
    """Seals behind number ``after`` with their entries as they stand in the table now."""
    require(principal, "admin")
    key = plane.keys.signing.public.base64
    # One snapshot: an entry that is sealed meanwhile must not be missed in both lists.
    async with (
        plane.database.pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read"),
    ):
        rows = await connection.fetch(_SEALS, after, limit + 1)
        seals = tuple([await _seal(connection, row) for row in rows[:limit]])
        if len(rows) > limit:
            return AuditPage(server_key=key, seals=seals, next_after=seals[-1].seal)
        outside = await connection.fetch(_OUTSIDE)
    return AuditPage(
        server_key=key,
        seals=seals,
        next_after=None,
        unsealed=tuple(entry_of(row) for row in outside if not row["stray"]),
        stray=tuple(row["entry_id"] for row in outside if row["stray"]),
    )


def entry_of(row: Row) -> AuditEntry:
    return AuditEntry(
        entry_id=row["entry_id"],
        at=utc_text(row["at"]),
        actor=row["actor"],
        act=row["act"],
        subject=row["subject"],
        data=row["data"],
    )


async def _seal(connection: Connection, row: Row) -> AuditSeal:
    digests: bytes = row["digests"]
    entries = await connection.fetch(_ENTRIES, row["entry_ids"])
    return AuditSeal(
        seal=row["seal"],
        at=utc_text(row["at"]),
        entry_ids=tuple(row["entry_ids"]),
        digests=tuple(digests[at : at + 32].hex() for at in range(0, len(digests), 32)),
        count=row["entries"],
        head=row["head"].hex(),
        signature=base64.b64encode(row["signature"]).decode(),
        entries=tuple(entry_of(one) for one in entries),
    )
