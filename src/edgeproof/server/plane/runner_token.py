"""A runner's bearer token: opaque to the runner, ``r1.<payload>.<hmac>``, kept nowhere.

Pure. Not checked here: expiry and the allowlist, which the database knows.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from datetime import timedelta
from typing import Final

import msgspec

from edgeproof.contract.base import Signed
from edgeproof.contract.canonical import canonical
from edgeproof.contract.envelope import domain_bytes
from edgeproof.contract.errors import Refused

TOKEN_LIFETIME: Final = timedelta(minutes=15)
PREFIX: Final = "r1."
_DOMAIN: Final = "edgeproof-runner-token-v1"


class RunnerToken(Signed, frozen=True, kw_only=True):
    """``expires_at`` in whole seconds since 1970, by the database's clock."""

    runner_id: str
    public_key: str
    expires_at: int


def seal_token(secret: bytes, token: RunnerToken) -> str:
    payload = base64.urlsafe_b64encode(canonical(token)).decode()
    return f"{PREFIX}{payload}.{_mac(secret, payload)}"


def open_token(secret: bytes, bearer: str) -> RunnerToken:
    """The content of a token of ours. Raises ``Refused`` (``unauthenticated``)."""
    payload, _, mac = bearer.removeprefix(PREFIX).partition(".")
    if not hmac.compare_digest(mac.encode(), _mac(secret, payload).encode()):
        raise Refused("unauthenticated", "the token is not one of this control plane's")
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(payload), type=RunnerToken)
    except (binascii.Error, msgspec.MsgspecError) as error:
        raise Refused("unauthenticated", "the token is of another version") from error


def _mac(secret: bytes, payload: str) -> str:
    return hmac.digest(secret, domain_bytes(_DOMAIN, payload.encode()), "sha256").hex()
