"""Who is calling (DESIGN decision 7). What a principal may do with a thing is that thing's affair."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from typing import Final, Literal

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.errors import Refused
from edgeproof.server.db.rows import Row
from edgeproof.server.plane.audit_log import CONTROL_PLANE, record
from edgeproof.server.plane.control_plane import ControlPlane, Principal, PrincipalKind
from edgeproof.server.plane.runner_token import PREFIX, RunnerToken, open_token

_FIND_PRINCIPAL = """
SELECT principal_id, kind FROM principals WHERE token_digest = $1 AND revoked_at IS NULL
"""
# By key and the time (Unix, seconds) at which its token expires.
_CHECK_RUNNERS: Final = """
SELECT extract(epoch FROM clock_timestamp()) < expires_at AS fresh,
    EXISTS (SELECT FROM good_keys WHERE good_keys.public_key = t.public_key OFFSET 0) AS allowed
FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS t (public_key, expires_at, number) ORDER BY number
"""
_CREATE: Final = """
INSERT INTO principals (principal_id, kind, name, token_digest) VALUES ($1, $2, $3, $4)
"""


async def authenticate(plane: ControlPlane, bearer: str | None) -> Principal:
    """The principal behind a bearer token; a runner's key is looked up on every call.

    Raises ``Refused``: ``unauthenticated``, or ``key_not_allowed`` for a runner whose key was removed.
    """
    if not bearer:
        raise Refused("unauthenticated")
    if bearer.startswith(PREFIX):
        return await _authenticate_runner(plane, bearer)
    row = await plane.database.pool.fetchrow(_FIND_PRINCIPAL, token_digest(bearer))
    if row is None:
        raise Refused("unauthenticated")
    return Principal(row["principal_id"], row["kind"])


async def _authenticate_runner(plane: ControlPlane, bearer: str) -> Principal:
    token = open_token(plane.keys.token_hmac, bearer)
    row: Row = await plane.tokens.ask(token, partial(_check_runners, plane))
    if not row["fresh"]:
        raise Refused("unauthenticated", "the runner's token has expired; register again")
    if not row["allowed"]:
        raise Refused("key_not_allowed")
    return Principal(token.runner_id, "runner", token.runner_id, token.public_key)


async def _check_runners(plane: ControlPlane, tokens: Sequence[RunnerToken]) -> Sequence[Row]:
    keys, ends = [token.public_key for token in tokens], [token.expires_at for token in tokens]
    found: Sequence[Row] = await plane.database.pool.fetch(_CHECK_RUNNERS, keys, ends)
    return found


async def create_principal(plane: ControlPlane, kind: Literal["admin", "user", "external"], name: str) -> str:
    """A new principal's token. It is shown once: only its digest is kept.

    Nobody asks for it over the network: a control plane makes those of its own machine.
    """
    token = f"edgeproof-{kind}-{secrets.token_urlsafe(32)}"
    principal_id = f"{kind}-{secrets.token_hex(8)}"
    async with plane.database.transaction() as connection:
        await connection.execute(_CREATE, principal_id, kind, name, token_digest(token))
        told = {"kind": kind, "name": name}
        await record(connection, CONTROL_PLANE, "principal.created", principal_id, told)
    return token


def require(principal: Principal, *kinds: PrincipalKind) -> None:
    """Raises ``Refused`` (``forbidden``) unless the principal is of one of ``kinds``."""
    if principal.kind not in kinds:
        raise Refused("forbidden", f"not for principals of kind {principal.kind}")


def token_digest(token: str) -> str:
    """What is kept of a principal's token."""
    # 256 random bits need no slow hash: there is nothing to guess.
    return sha256_hex(token.encode("utf-8", "surrogatepass"))
