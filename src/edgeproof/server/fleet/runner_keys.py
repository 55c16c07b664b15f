"""The allowlist of runners' keys as admins see and change it, but for removing (``revoke``) and for what the
configuration lists (``static_keys``).

Whether a key is good now, the views ``good_keys`` and ``good_runners`` say; registration, every call,
every claim and every lease ask them.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.fleet import KeyState, RotatedKey, RunnerKeyList, RunnerKeyView
from edgeproof.contract.ids import digest_of_uri
from edgeproof.contract.log_ids import about
from edgeproof.server.db.database import Connection, lock
from edgeproof.server.db.rows import Row
from edgeproof.server.db.times import utc_text
from edgeproof.server.fleet.requirements import match_registered_runner
from edgeproof.server.plane.audit_log import record
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import require

_logger = logging.getLogger(__name__)

_LIST: Final = """
SELECT *, coalesce(good_until <= clock_timestamp(), false) AS rotated_out FROM runner_keys
ORDER BY added_at, public_key LIMIT 100000
"""
_ONE: Final = """
SELECT *, coalesce(good_until <= clock_timestamp(), false) AS rotated_out FROM runner_keys
WHERE public_key = $1
"""
_OF_RUNNER: Final = """
SELECT *, coalesce(good_until <= clock_timestamp(), false) AS rotated_out FROM runner_keys
WHERE runner_id = $1 ORDER BY added_at, public_key
"""
_BY_FINGERPRINT: Final = """
SELECT public_key FROM runner_keys WHERE encode(sha256(decode(public_key, 'base64')), 'hex') = $1
"""
_ALLOW: Final = """
INSERT INTO runner_keys (public_key, added_by, source) VALUES ($1, $2, 'admin')
ON CONFLICT (public_key) DO UPDATE SET added_by = $2, added_at = clock_timestamp(), source = 'admin',
    good_until = NULL, removed_at = NULL, removed_by = NULL, removed_reason = NULL
WHERE runner_keys.compromised_since IS NULL
    AND (runner_keys.removed_at IS NOT NULL OR runner_keys.good_until IS NOT NULL)
RETURNING runner_id
"""
# In one order, as all that hold several keys.
_HOLD: Final = """
SELECT FROM runner_keys WHERE public_key = ANY($1::text[]) ORDER BY public_key FOR UPDATE
"""
_ROTATE_OUT: Final = """
UPDATE runner_keys SET runner_id = $2, good_until = clock_timestamp() + make_interval(secs => $3)
WHERE public_key = $1
"""
_ROTATE_IN: Final = """
INSERT INTO runner_keys (public_key, added_by, runner_id) VALUES ($1, $2, $3)
ON CONFLICT (public_key) DO UPDATE SET runner_id = $3
WHERE runner_keys.runner_id IS NULL AND runner_keys.removed_at IS NULL AND runner_keys.good_until IS NULL
RETURNING public_key
"""
_SUCCESSOR: Final = """
SELECT data ->> 'new' FROM audit_log WHERE act = 'key.rotated' AND subject = $1 ORDER BY entry_id DESC LIMIT 1
"""


def runner_id_of(key: PublicKey) -> str:
    """The id of a runner that begins with this key: ``runner-`` and 16 hexadecimal digits of the key id."""
    return f"runner-{key.keyid[:16]}"


async def list_keys(plane: ControlPlane, principal: Principal) -> RunnerKeyList:
    """Every key that was ever listed or removed."""
    require(principal, "admin")
    return RunnerKeyList(keys=tuple(key_view(row) for row in await plane.database.pool.fetch(_LIST)))


async def allow_key(plane: ControlPlane, principal: Principal, key: PublicKey) -> RunnerKeyView:
    """Put a key on the allowlist, also one that was removed: the operator's word is the last.

    Raises ``Refused`` (``conflict``) for a key that was removed as compromised.
    """
    require(principal, "admin")
    async with plane.database.transaction() as connection:
        # Not while it registers: whichever comes second sees the other.
        await lock(connection, f"runner-key:{key.base64}")
        changed = await connection.fetchrow(_ALLOW, key.base64, principal.principal_id)
        view = await key_in(connection, key)
        if view.state == "compromised":
            raise Refused("conflict", "this key was removed as compromised; its runner needs a new one")
        if changed is not None:
            await record(connection, principal.principal_id, "key.added", key.fingerprint)
            if changed["runner_id"] is not None:
                await match_registered_runner(connection, changed["runner_id"])
    if changed is not None:
        with about(runner_id=view.runner_id):
            _logger.info("key %s added by %s", key.fingerprint, principal.principal_id)
    return view


async def rotate_key(
    plane: ControlPlane, principal: Principal, old: PublicKey, new: PublicKey, overlap_seconds: float
) -> RotatedKey:
    """Let ``new`` speak for the runner of ``old``, which stays good for ``overlap_seconds`` more. The same
    again changes nothing.

    Raises ``Refused``: ``invalid_request`` for the same key twice, ``key_not_allowed`` when ``old`` is not
    good, ``conflict`` when ``new`` has a history or another key replaces ``old`` already.
    """
    require(principal, "admin")
    if old.base64 == new.base64:
        raise Refused("invalid_request", "a key cannot replace itself; make a new one")
    async with plane.database.transaction() as connection:
        for key in sorted({old.base64, new.base64}):
            await lock(connection, f"runner-key:{key}")
        await connection.execute(_HOLD, [old.base64, new.base64])
        before = await find_key_in(connection, old)
        if before is not None and before.good_until is not None and before.removed_at is None:
            after = await find_key_in(connection, new)
            successor = await connection.fetchval(_SUCCESSOR, old.fingerprint)
            if after is not None and after.state == "good" and successor == new.fingerprint:
                return RotatedKey(old=before, new=after)
        if before is None or before.state != "good":
            raise Refused("key_not_allowed", f"{old.fingerprint} is not a good key")
        if before.good_until is not None:
            raise Refused(
                "conflict", f"{old.fingerprint} is being replaced already; to undo that, add it again"
            )
        runner_id = before.runner_id or runner_id_of(old)
        if await connection.fetchval(_ROTATE_IN, new.base64, principal.principal_id, runner_id) is None:
            raise Refused("conflict", f"{new.fingerprint} has been another key before; make a new one")
        await connection.execute(_ROTATE_OUT, old.base64, runner_id, float(overlap_seconds))
        told = {"new": new.fingerprint, "runner": runner_id, "overlap_seconds": int(overlap_seconds)}
        await record(connection, principal.principal_id, "key.rotated", old.fingerprint, told)
        rotated = RotatedKey(old=await key_in(connection, old), new=await key_in(connection, new))
    with about(runner_id=runner_id):
        _logger.info("key %s rotated to %s by %s", old.fingerprint, new.fingerprint, principal.principal_id)
    return rotated


async def named_key(plane: ControlPlane, principal: Principal, name: str) -> PublicKey:
    """The key that a ``KeyName`` means. Raises ``Refused`` (``not_found``, ``invalid_request``)."""
    require(principal, "admin")
    keyid = digest_of_uri(name)
    if keyid is not None:
        listed = await plane.database.pool.fetchval(_BY_FINGERPRINT, keyid)
        if listed is None:
            raise Refused("not_found", f"no listed key has the fingerprint {name}")
        name = listed
    return key_from(name)


def key_from(text: str) -> PublicKey:
    """A base64 key. Raises ``Refused`` (``invalid_request``)."""
    try:
        return PublicKey.from_base64(text)
    except Refused as error:
        raise Refused("invalid_request", error.detail) from error


async def find_key_in(connection: Connection, key: PublicKey) -> RunnerKeyView | None:
    row: Any = await connection.fetchrow(_ONE, key.base64)
    return None if row is None else key_view(row)


async def keys_of_runner(connection: Connection, runner_id: str) -> tuple[RunnerKeyView, ...]:
    return tuple(key_view(row) for row in await connection.fetch(_OF_RUNNER, runner_id))


async def key_in(connection: Connection, key: PublicKey) -> RunnerKeyView:
    (row,) = await connection.fetch(_ONE, key.base64)
    return key_view(row)


def key_view(row: Row) -> RunnerKeyView:
    """``row`` has the columns of the table, and ``rotated_out``."""
    state: KeyState = "good"
    if row["compromised_since"] is not None:
        state = "compromised"
    elif row["removed_at"] is not None:
        state = "removed"
    elif row["rotated_out"]:
        state = "rotated_out"
    return RunnerKeyView(
        public_key=row["public_key"],
        fingerprint=fingerprint(row["public_key"]),
        state=state,
        source=row["source"],
        added_by=row["added_by"],
        added_at=utc_text(row["added_at"]),
        runner_id=row["runner_id"],
        good_until=_time(row["good_until"]),
        removed_at=_time(row["removed_at"]),
        removed_by=row["removed_by"],
        reason=row["removed_reason"],
        compromised_since=_time(row["compromised_since"]),
    )


def fingerprint(key: str) -> str:
    return PublicKey.from_base64(key).fingerprint


def _time(at: Any) -> str | None:
    return None if at is None else utc_text(at)
