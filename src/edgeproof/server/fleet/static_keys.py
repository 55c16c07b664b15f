"""The static part of the allowlist: the keys that a replica's configuration lists.

A replica that has a list makes the static keys exactly that list, so all that have one are given the same. A
replica without one says nothing about them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final

from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.log_ids import about
from edgeproof.server.db.database import Connection, Database, lock
from edgeproof.server.fleet.requirements import match_registered_runner
from edgeproof.server.plane.audit_log import CONTROL_PLANE, record

_logger = logging.getLogger(__name__)

STATIC: Final = "configuration"
"""Who adds and removes what the static list holds and no longer holds."""

# All in one order, and before anything else is locked: registrations and decisions hold keys, too.
_HOLD: Final = """
SELECT FROM runner_keys WHERE public_key = ANY($1::text[]) OR (source = 'static' AND removed_at IS NULL)
ORDER BY public_key FOR UPDATE
"""
_IN: Final = """
INSERT INTO runner_keys (public_key, added_by, source) SELECT unnest($1::text[]), $2, 'static'
ON CONFLICT (public_key) DO UPDATE SET source = 'static',
    removed_at = NULL, removed_by = NULL, removed_reason = NULL
WHERE runner_keys.removed_by = $2 AND runner_keys.compromised_since IS NULL
RETURNING public_key, runner_id
"""
_OUT: Final = """
UPDATE runner_keys SET removed_at = clock_timestamp(), removed_by = $2,
    removed_reason = 'it left the static list'
WHERE source = 'static' AND removed_at IS NULL AND public_key <> ALL($1::text[])
RETURNING public_key, runner_id
"""


async def keep_static_keys(database: Database, keys: Iterable[PublicKey] | None) -> None:
    """Make the listed keys of source ``static`` exactly ``keys``; None leaves them as they are.

    What an admin removed stays removed. The runner of a key that comes back fits its classes again at once;
    the leases of one that left end with the reaper's next look.
    """
    if keys is None:
        return
    listed = sorted({key.base64 for key in keys})
    async with database.transaction() as connection:
        await lock(connection, "static-runner-keys")
        await connection.execute(_HOLD, listed)
        added = await connection.fetch(_IN, listed, STATIC)
        await _tell(connection, "key.added", added)
        removed = await connection.fetch(_OUT, listed, STATIC)
        await _tell(connection, "key.removed", removed)
    _log("added", added)
    _log("removed", removed)


def _log(what: str, changed: Iterable[Any]) -> None:
    for row in changed:
        with about(runner_id=row["runner_id"]):
            fingerprint = PublicKey.from_base64(row["public_key"]).fingerprint
            _logger.info("key %s %s by the static list", fingerprint, what)


async def _tell(connection: Connection, act: str, changed: Iterable[Any]) -> None:
    for row in changed:
        fingerprint = PublicKey.from_base64(row["public_key"]).fingerprint
        await record(connection, CONTROL_PLANE, act, fingerprint, {"source": "static"})
        if row["runner_id"] is not None:
            await match_registered_runner(connection, row["runner_id"])
