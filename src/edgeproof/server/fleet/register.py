"""Registering a runner: one route, a challenge first, then the proof (DESIGN decision 10)."""

from __future__ import annotations

import logging
import secrets
from datetime import datetime
from typing import Final

import msgspec

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.log_ids import about
from edgeproof.contract.runners import Capabilities, RegisterRequest, RegisterResponse
from edgeproof.server.db.database import Connection
from edgeproof.server.db.rows import Row
from edgeproof.server.db.times import utc_text
from edgeproof.server.fleet.challenge import check_signature, new_nonce, nonce_expiry, split_proof
from edgeproof.server.fleet.enrolment import admit
from edgeproof.server.fleet.requirements import match_runner_classes
from edgeproof.server.fleet.runner_keys import runner_id_of
from edgeproof.server.plane.audit_log import record
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.server.plane.runner_token import TOKEN_LIFETIME, RunnerToken, seal_token

_logger = logging.getLogger(__name__)

_SPEND: Final = """
INSERT INTO spent_nonces (nonce_digest, expires_at)
SELECT $1, $2::timestamptz WHERE $2::timestamptz > clock_timestamp()
ON CONFLICT (nonce_digest) DO NOTHING RETURNING nonce_digest
"""
# A minute late, so that no statement which still found its nonce fresh can miss the stored one.
_FORGET_SPENT: Final = "DELETE FROM spent_nonces WHERE expires_at < clock_timestamp() - interval '60 s'"
_BEFORE: Final = "SELECT public_key, capabilities FROM runners WHERE runner_id = $1 FOR NO KEY UPDATE"
# Not the key, a UNIQUE column: setting it would lock the row against who matches a class to this runner.
_STORE_RUNNER: Final = """
INSERT INTO runners (runner_id, public_key, hostname, capabilities) VALUES ($1, $2, $3, $4)
ON CONFLICT (runner_id) DO UPDATE
SET hostname = excluded.hostname, capabilities = excluded.capabilities, last_seen_at = clock_timestamp()
WHERE runners.public_key = excluded.public_key OR EXISTS (
    SELECT FROM runner_keys k WHERE k.public_key = excluded.public_key AND k.runner_id = runners.runner_id
)
RETURNING (xmax = 0) AS is_new
"""
# Not one that is being rotated out: both speak for the runner meanwhile, and the new one is its key.
_SET_KEY: Final = """
UPDATE runners SET public_key = $1 WHERE runner_id = $2 AND public_key <> $1
    AND NOT EXISTS (SELECT FROM runner_keys WHERE public_key = $1 AND good_until IS NOT NULL)
"""
_BIND_KEY: Final = """
UPDATE runner_keys SET runner_id = $2 WHERE public_key = $1 AND runner_id IS NULL RETURNING true
"""


async def register(
    plane: ControlPlane, request: RegisterRequest, body: bytes, proof: str | None
) -> RegisterResponse:
    """Register the runner whose key signed the challenge; ``body`` is the request as it came.

    Registering again renews the token and the capabilities; no lease ends by it.

    Raises ``Refused``: ``challenge_required`` with a nonce when there is no proof, ``challenge_invalid``,
    ``key_not_allowed``, ``invalid_request``.
    """
    try:
        key = PublicKey.from_base64(request.public_key)
    except Refused as error:
        raise Refused("invalid_request", f"public_key: {error.detail}") from error
    if proof is None:
        nonce = new_nonce(plane.keys.challenge_hmac, key, await plane.database.now(), secrets.token_bytes(16))
        raise Refused("challenge_required", nonce=nonce)
    await _check_proof(plane, key, proof, body)
    async with plane.database.transaction() as connection:
        runner_id = await admit(connection, key, request.enrolment_token) or runner_id_of(key)
        is_new = await _store(connection, runner_id, key, request)
        now: datetime = await connection.fetchval("SELECT clock_timestamp()")
    if is_new:
        with about(runner_id=runner_id):
            _logger.info(
                "runner registered for the first time, key %s, host %r", key.fingerprint, request.hostname
            )
    return _answer(plane, runner_id, key, now)


async def _check_proof(plane: ControlPlane, key: PublicKey, proof: str, body: bytes) -> None:
    nonce, signature = split_proof(proof)
    expires_at = nonce_expiry(plane.keys.challenge_hmac, key, nonce)
    check_signature(
        key,
        signature,
        server_keyid=plane.keys.signing.public.keyid,
        public_url=plane.settings.public_url,
        nonce=nonce,
        body=body,
    )
    # Committed by itself: a nonce stays spent also when the registration is then refused.
    async with plane.database.transaction() as connection:
        await connection.execute(_FORGET_SPENT)
        spent = await connection.fetchval(_SPEND, sha256_hex(nonce.encode()), expires_at)
    if spent is None:
        raise Refused("challenge_invalid", "the nonce has expired or was used before")


async def _store(connection: Connection, runner_id: str, key: PublicKey, request: RegisterRequest) -> bool:
    """Whether it is the first time."""
    before = await connection.fetchrow(_BEFORE, runner_id)
    is_new: bool | None = await connection.fetchval(
        _STORE_RUNNER, runner_id, key.base64, request.hostname, request.capabilities
    )
    if is_new is None:
        raise Refused("conflict", f"another key is registered as {runner_id}")
    bound = await connection.fetchval(_BIND_KEY, key.base64, runner_id)
    if is_new:
        told = {"key": key.fingerprint, "hostname": request.hostname}
        await record(connection, runner_id, "runner.registered", runner_id, told)
    if before is not None and not bound and _same(before, key, request.capabilities):
        # It fits what it fitted, and who adds a class matches it: no lock that the whole fleet waits for.
        return is_new
    await match_runner_classes(connection, runner_id, request.capabilities)
    # Under the lock of the classes: who matches one holds that lock, and then refers to the runner.
    await connection.execute(_SET_KEY, key.base64, runner_id)
    return is_new


def _same(before: Row, key: PublicKey, capabilities: Capabilities) -> bool:
    # As JSON, for what an earlier release stored need not be of today's form.
    told = msgspec.json.decode(msgspec.json.encode(capabilities))
    same: bool = before["public_key"] == key.base64 and before["capabilities"] == told
    return same


def _answer(plane: ControlPlane, runner_id: str, key: PublicKey, now: datetime) -> RegisterResponse:
    expires_at = (now + TOKEN_LIFETIME).replace(microsecond=0)
    token = RunnerToken(runner_id=runner_id, public_key=key.base64, expires_at=int(expires_at.timestamp()))
    return RegisterResponse(
        runner_id=runner_id,
        token=seal_token(plane.keys.token_hmac, token),
        expires_at=utc_text(expires_at),
        server_key=plane.keys.signing.public.base64,
    )
