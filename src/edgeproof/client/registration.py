"""A runner proves that it holds its key (DESIGN decision 10).

The proof covers the server's key, the URL dialled, the nonce, the runner's key and the body, so that it
is good for one registration with one server only. The signature has its own domain.
"""

from __future__ import annotations

import base64
import hashlib
import platform

import msgspec

from edgeproof.client.exchange import HEALTH, JSON, Exchange, decoded
from edgeproof.contract.envelope import PublicKey, SigningKey
from edgeproof.contract.errors import EdgeproofError, Refused
from edgeproof.contract.jobs import Health
from edgeproof.contract.runners import (
    PROOF_HEADER,
    REGISTER_DOMAIN,
    Capabilities,
    RegisterRequest,
    RegisterResponse,
)

ROUTE = "/api/runners/register"


def proof(key: SigningKey, server_keyid: str, public_url: str, nonce: str, body: bytes) -> str:
    """The value of the header ``Edgeproof-Proof``: ``<nonce>.<base64url signature>``."""
    signature = key.sign_in_domain(
        REGISTER_DOMAIN,
        server_keyid.encode("ascii"),
        public_url.encode("ascii"),
        nonce.encode("ascii"),
        key.public.raw,
        hashlib.sha256(body).digest(),
    )
    return f"{nonce}.{base64.urlsafe_b64encode(signature).decode()}"


async def server_key(exchange: Exchange) -> PublicKey:
    """The control plane's key as it tells it. Raises ``server_key_mismatch`` against a pinned one."""
    health = decoded(await exchange.send("GET", HEALTH, idempotent=True), Health)
    key = PublicKey.from_base64(health.server_key)
    exchange.check_pin(key)
    return key


async def register(
    exchange: Exchange,
    key: SigningKey,
    capabilities: Capabilities,
    enrolment_token: str | None,
) -> RegisterResponse:
    """Registers, answers the challenge, and adopts the token that comes back.

    A proof is good for once: one that reached the server twice, or too late, is made anew, once.
    """
    server = await server_key(exchange)
    request = RegisterRequest(
        public_key=key.public.base64,
        hostname=platform.node() or "unknown",
        capabilities=capabilities,
        enrolment_token=enrolment_token,
    )
    body = msgspec.json.encode(request)
    try:
        registered = await _proven(exchange, key, server, body)
    except Refused as error:
        if error.code != "challenge_invalid":
            raise
        registered = await _proven(exchange, key, server, body)
    if PublicKey.from_base64(registered.server_key) != server:
        raise Refused("server_key_mismatch", "the registration names another key than /health did")
    exchange.token = registered.token
    return registered


async def _proven(exchange: Exchange, key: SigningKey, server: PublicKey, body: bytes) -> RegisterResponse:
    nonce = await _challenge(exchange, body)
    answer = proof(key, server.keyid, exchange.address.url, nonce, body)
    headers = {**JSON, PROOF_HEADER: answer}
    return decoded(
        await exchange.send("POST", ROUTE, body=body, headers=headers, idempotent=False), RegisterResponse
    )


async def _challenge(exchange: Exchange, body: bytes) -> str:
    try:
        await exchange.send("POST", ROUTE, body=body, headers=JSON, idempotent=True)
    except EdgeproofError as error:
        if error.code != "challenge_required" or error.nonce is None:
            raise
        return error.nonce
    raise Refused("challenge_invalid", "the server registered this runner without asking for a proof")
