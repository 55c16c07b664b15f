"""Chains the audit log in batches and signs its head, about once a second, one replica at a time.

Linking inside each transaction would make every commit wait for the one before. Here an entry is sealed once
no transaction is left that could still add one before it: ids are given out before commits, in another order,
so the mark is a transaction id. A transaction that stays open holds the mark back; the tail stays visible.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from edgeproof.contract.audit import AUDIT_DOMAIN, EMPTY_HEAD, chain, entry_digest, seal_parts
from edgeproof.server.audit.audit import entry_of
from edgeproof.server.db.database import Connection
from edgeproof.server.db.times import utc_text
from edgeproof.server.plane.control_plane import ControlPlane

_logger = logging.getLogger(__name__)
_SEAL_SECONDS: Final = 1.0
_BATCH: Final = 1000

_TRY_LOCK: Final = "SELECT pg_try_advisory_xact_lock(hashtextextended('audit-seal', 0))"
_LAST: Final = """
SELECT seal, entries, head, through_xid, floor_entry FROM audit_seals ORDER BY seal DESC LIMIT 1
"""
# Every transaction below it has ended: what it wrote is there for good, or never will be.
_SETTLED: Final = """
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xid, clock_timestamp() AS now
"""
_NEXT: Final = """
SELECT entry_id, xid, at, actor, act, subject, data FROM (
    SELECT * FROM audit_log WHERE xid >= $1 AND xid < $2 AND entry_id > $3
    ORDER BY xid FETCH FIRST $4 ROWS WITH TIES
) next ORDER BY xid, entry_id
"""
_UNSEALED: Final = """
SELECT entry_id, xid, at, actor, act, subject, data FROM audit_log
WHERE NOT EXISTS (
    SELECT FROM (SELECT unnest(entry_ids) AS sealed FROM audit_seals) all_sealed
    WHERE sealed = audit_log.entry_id
)
ORDER BY entry_id
"""
_HIGHEST: Final = "SELECT coalesce(max(entry_id), 0) FROM audit_log"
_COUNT_TAIL: Final = "SELECT count(*) FROM audit_log WHERE xid >= $1 AND entry_id > $2"
_STORE: Final = """
INSERT INTO audit_seals
    (seal, at, entry_ids, digests, entries, head, signature, through_xid, floor_entry)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""


async def run_sealer(plane: ControlPlane) -> None:
    """Seal every second until the server stops. Trouble is logged, and tried again."""
    while not plane.stopping.is_set():
        try:
            while await seal(plane) >= _BATCH:
                pass
        except Exception:
            _logger.exception("could not seal the audit log; it will be tried again")
        try:
            await asyncio.wait_for(plane.stopping.wait(), _SEAL_SECONDS)
        except TimeoutError:
            continue


async def seal(plane: ControlPlane) -> int:
    """Seal what is settled, at most about ``_BATCH`` entries; how many. 0 also while another replica does."""
    async with plane.database.transaction() as connection:
        if not await connection.fetchval(_TRY_LOCK):
            return 0
        last = await connection.fetchrow(_LAST)
        through, floor = _mark(last)
        (settled,) = await connection.fetch(_SETTLED)
        restored = settled["xid"] < through
        if restored:
            rows = await _after_restore(connection)
            through, floor = settled["xid"], await connection.fetchval(_HIGHEST)
        else:
            rows = await connection.fetch(_NEXT, through, settled["xid"], floor, _BATCH)
            through = rows[-1]["xid"] + 1 if rows else through
        if rows or restored:
            await _store(plane, connection, last, rows, settled["now"], through, floor)
    return len(rows)


async def unsealed(connection: Connection) -> int:
    """How many entries wait for their seal."""
    count: int = await connection.fetchval(_COUNT_TAIL, *_mark(await connection.fetchrow(_LAST)))
    return count


def _mark(last: Any) -> tuple[int, int]:
    """The transaction id from which on, and the entry after which, nothing is sealed yet."""
    return (last["through_xid"], last["floor_entry"]) if last is not None else (0, 0)


async def _after_restore(connection: Connection) -> Sequence[Any]:
    """All that no seal covers. A dump restored elsewhere begins with small transaction ids again: from here
    on only entries with higher ids than these are asked for. Nobody writes while they are listed."""
    await connection.execute("LOCK TABLE audit_log IN SHARE MODE")
    return await connection.fetch(_UNSEALED)


async def _store(
    plane: ControlPlane,
    connection: Connection,
    last: Any,
    rows: Sequence[Any],
    now: datetime,
    through: int,
    floor: int,
) -> None:
    digests = await asyncio.to_thread(lambda: [entry_digest(entry_of(row)) for row in rows])
    number = 1 if last is None else last["seal"] + 1
    count = len(rows) + (0 if last is None else last["entries"])
    head = chain(EMPTY_HEAD if last is None else last["head"], digests)
    signature = plane.keys.signing.sign_in_domain(
        AUDIT_DOMAIN, *seal_parts(number, utc_text(now), count, head)
    )
    await connection.execute(
        _STORE,
        number,
        now,
        [row["entry_id"] for row in rows],
        b"".join(digests),
        count,
        head,
        signature,
        through,
        floor,
    )
