"""Which runner keys may register: the operator's allowlist, and tokens that let a runner onto it."""

from __future__ import annotations

import secrets
from datetime import timedelta

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import Refused
from edgeproof.server.control_plane import ControlPlane, Principal
from edgeproof.server.database import Connection, lock
from edgeproof.server.principals import require

_CREATE = """
INSERT INTO enrolment_tokens (token_digest, uses_left, expires_at, created_by)
VALUES ($1, $2, clock_timestamp() + $3::interval, $4)
"""
_USE = """
UPDATE enrolment_tokens SET uses_left = uses_left - 1
WHERE token_digest = $1 AND uses_left > 0 AND expires_at > clock_timestamp()
RETURNING created_by
"""
_ALLOW = """
INSERT INTO runner_keys (public_key, added_by) VALUES ($1, $2)
ON CONFLICT (public_key) DO UPDATE SET added_by = $2, added_at = clock_timestamp(), removed_at = NULL
WHERE runner_keys.removed_at IS NOT NULL
"""
_REMOVE = """
INSERT INTO runner_keys (public_key, added_by, removed_at) VALUES ($1, $2, clock_timestamp())
ON CONFLICT (public_key) DO UPDATE SET removed_at = coalesce(runner_keys.removed_at, clock_timestamp())
"""


async def create_enrolment_token(
    plane: ControlPlane, principal: Principal, uses: int, ttl_seconds: float
) -> str:
    """A token that puts up to ``uses`` new keys on the allowlist. Shown once; only its digest is kept."""
    require(principal, "admin")
    if uses < 1 or ttl_seconds <= 0:
        raise Refused("invalid_request", "an enrolment token needs at least one use and some time")
    token = f"edgeproof-enrol-{secrets.token_urlsafe(32)}"
    await plane.database.pool.execute(
        _CREATE, sha256_hex(token.encode()), uses, timedelta(seconds=ttl_seconds), principal.principal_id
    )
    return token


async def allow_key(plane: ControlPlane, principal: Principal, key: PublicKey) -> None:
    """Put a key on the allowlist, also one that was removed: the operator's word is the last."""
    require(principal, "admin")
    await plane.database.pool.execute(_ALLOW, key.base64, principal.principal_id)


async def remove_key(plane: ControlPlane, principal: Principal, key: PublicKey) -> None:
    """Take a key off the allowlist, at once and against every enrolment token, known or not."""
    require(principal, "admin")
    await plane.database.pool.execute(_REMOVE, key.base64, principal.principal_id)


async def admit(connection: Connection, key: PublicKey, enrolment_token: str | None) -> None:
    """Let ``key`` register: it is on the allowlist, or a token puts it there, which takes one use.

    Raises ``Refused`` (``key_not_allowed``): no good token, or the key was removed.
    """
    # One registration of a key at a time: a second one finds it listed and takes no use.
    await lock(connection, f"runner-key:{key.base64}")
    row = await connection.fetchrow(
        "SELECT removed_at FROM runner_keys WHERE public_key = $1 FOR SHARE", key.base64
    )
    if row is not None:
        if row["removed_at"] is not None:
            raise Refused("key_not_allowed", "this runner key was removed from the allowlist")
        return
    if enrolment_token is None:
        raise Refused("key_not_allowed")
    token_digest = sha256_hex(enrolment_token.encode("utf-8", "surrogatepass"))
    created_by = await connection.fetchval(_USE, token_digest)
    if created_by is None:
        raise Refused("key_not_allowed", "the enrolment token is unknown, used up or expired")
    await connection.execute(
        "INSERT INTO runner_keys (public_key, added_by) VALUES ($1, $2)", key.base64, created_by
    )
