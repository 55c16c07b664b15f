"""Tokens that let a runner's key onto the allowlist, and who may register at all."""

from __future__ import annotations

import secrets
from datetime import timedelta

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import EnrolmentTokenList, EnrolmentTokenView
from edgeproof.server.db.database import Connection, lock
from edgeproof.server.db.rows import Row
from edgeproof.server.db.times import utc_text
from edgeproof.server.fleet.runner_keys import runner_id_of
from edgeproof.server.plane.audit_log import record
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import require

_CREATE = """
INSERT INTO enrolment_tokens (token_digest, uses_left, expires_at, created_by)
VALUES ($1, $2, clock_timestamp() + $3::interval, $4)
"""
_USE = """
UPDATE enrolment_tokens SET uses_left = uses_left - 1
WHERE token_digest = $1 AND uses_left > 0 AND expires_at > clock_timestamp() AND revoked_at IS NULL
RETURNING created_by
"""
_LIST = "SELECT * FROM enrolment_tokens ORDER BY created_at DESC, token_digest LIMIT 1000"
_FIND = "SELECT * FROM enrolment_tokens WHERE token_digest = $1"
_REVOKE = """
UPDATE enrolment_tokens SET revoked_at = clock_timestamp()
WHERE token_digest = $1 AND revoked_at IS NULL RETURNING token_digest
"""
_FIND_KEY = """
SELECT runner_id, removed_at IS NOT NULL AS removed,
    coalesce(good_until <= clock_timestamp(), false) AS rotated_out
FROM runner_keys WHERE public_key = $1 FOR SHARE
"""


async def create_enrolment_token(
    plane: ControlPlane, principal: Principal, uses: int, ttl_seconds: float
) -> str:
    """A token that puts up to ``uses`` new keys on the allowlist. Shown once; only its digest is kept."""
    require(principal, "admin")
    if uses < 1 or ttl_seconds <= 0:
        raise Refused("invalid_request", "an enrolment token needs at least one use and some time")
    token = f"edgeproof-enrol-{secrets.token_urlsafe(32)}"
    digest = sha256_hex(token.encode())
    async with plane.database.transaction() as connection:
        await connection.execute(
            _CREATE, digest, uses, timedelta(seconds=ttl_seconds), principal.principal_id
        )
        told = {"uses": uses, "seconds": int(ttl_seconds)}
        await record(connection, principal.principal_id, "enrolment_token.created", digest, told)
    return token


async def list_enrolment_tokens(plane: ControlPlane, principal: Principal) -> EnrolmentTokenList:
    """The newest first, those that are good no more too. Raises ``Refused`` (``forbidden``)."""
    require(principal, "admin")
    return EnrolmentTokenList(tokens=tuple(_view(row) for row in await plane.database.pool.fetch(_LIST)))


async def revoke_enrolment_token(
    plane: ControlPlane, principal: Principal, digest: str
) -> EnrolmentTokenView:
    """From now on the token lists no key; those that it listed stay. Repeating it changes nothing.

    Raises ``Refused`` (``forbidden``, ``not_found``).
    """
    require(principal, "admin")
    async with plane.database.transaction() as connection:
        if await connection.fetchval(_REVOKE, digest) is not None:
            await record(connection, principal.principal_id, "enrolment_token.revoked", digest)
        row = await connection.fetchrow(_FIND, digest)
    if row is None:
        raise Refused("not_found", "no such enrolment token")
    return _view(row)


async def admit(connection: Connection, key: PublicKey, enrolment_token: str | None) -> str | None:
    """Let ``key`` register: it is on the allowlist, or a token puts it there, which takes one use.

    Returns the id of the runner that the key belongs to, None for a key that has not registered yet. Raises
    ``Refused`` (``key_not_allowed``): no good token, or the key was removed or rotated out.
    """
    # One registration of a key at a time: a second one finds it listed and takes no use.
    await lock(connection, f"runner-key:{key.base64}")
    row = await connection.fetchrow(_FIND_KEY, key.base64)
    if row is not None:
        if row["removed"]:
            raise Refused("key_not_allowed", "this runner key was removed from the allowlist")
        if row["rotated_out"]:
            raise Refused("key_not_allowed", "this runner key was replaced by a newer one")
        runner_id: str | None = row["runner_id"]
        return runner_id
    if enrolment_token is None:
        raise Refused("key_not_allowed")
    token_digest = sha256_hex(enrolment_token.encode("utf-8", "surrogatepass"))
    created_by = await connection.fetchval(_USE, token_digest)
    if created_by is None:
        raise Refused("key_not_allowed", "the enrolment token is unknown, used up, expired or revoked")
    await connection.execute(
        "INSERT INTO runner_keys (public_key, added_by, source) VALUES ($1, $2, 'enrolment')",
        key.base64,
        created_by,
    )
    told = {"enrolment_token": token_digest, "made_by": created_by}
    await record(connection, runner_id_of(key), "key.enrolled", key.fingerprint, told)
    return None


def _view(row: Row) -> EnrolmentTokenView:
    revoked_at = row["revoked_at"]
    return EnrolmentTokenView(
        digest=row["token_digest"],
        uses_left=row["uses_left"],
        created_by=row["created_by"],
        created_at=utc_text(row["created_at"]),
        expires_at=utc_text(row["expires_at"]),
        revoked_at=None if revoked_at is None else utc_text(revoked_at),
    )
