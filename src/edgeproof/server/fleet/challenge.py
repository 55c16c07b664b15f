"""The registration challenge (DESIGN decision 10): nonces that need no storage, and the proof over one.

Pure: ``now`` and randomness are arguments. Not checked here: whether a nonce was spent and whether its
expiry has passed, both of which only the database knows, and whether the key may register at all.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Final

from edgeproof.contract.envelope import PublicKey, domain_bytes
from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import REGISTER_DOMAIN

NONCE_LIFETIME: Final = timedelta(seconds=60)
_NONCE_DOMAIN: Final = "edgeproof-nonce-v1"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNIQUE, _TIME, _KEY, _MAC = 16, 8, 32, 32


def new_nonce(secret: bytes, key: PublicKey, now: datetime, unique: bytes) -> str:
    """base64url of ``unique (16) ‖ expiry (8, microseconds) ‖ key (32) ‖ HMAC-SHA-256 (32)``."""
    expiry = (now + NONCE_LIFETIME - _EPOCH) // timedelta(microseconds=1)
    content = unique + expiry.to_bytes(_TIME, "big") + key.raw
    return base64.urlsafe_b64encode(content + _mac(secret, content)).decode()


def nonce_expiry(secret: bytes, key: PublicKey, nonce: str) -> datetime:
    """When a nonce of ours for ``key`` expires. Raises ``Refused`` (``challenge_invalid``)."""
    raw = _unbase64url(nonce, "nonce")
    content, mac = raw[:-_MAC], raw[-_MAC:]
    if len(raw) != _UNIQUE + _TIME + _KEY + _MAC or not hmac.compare_digest(mac, _mac(secret, content)):
        raise Refused("challenge_invalid", "the nonce is not one of this control plane's")
    if content[_UNIQUE + _TIME :] != key.raw:
        raise Refused("challenge_invalid", "the nonce was made for another key")
    return _EPOCH + timedelta(microseconds=int.from_bytes(content[_UNIQUE : _UNIQUE + _TIME], "big"))


def split_proof(proof: str) -> tuple[str, bytes]:
    """Nonce and signature of ``<nonce>.<base64url signature>``. Raises ``challenge_invalid``."""
    nonce, dot, signature = proof.partition(".")
    if not dot:
        raise Refused("challenge_invalid", "the proof is not <nonce>.<signature>")
    return nonce, _unbase64url(signature, "signature")


def check_signature(
    key: PublicKey, signature: bytes, *, server_keyid: str, public_url: str, nonce: str, body: bytes
) -> None:
    """Raises ``challenge_invalid`` unless ``key`` signed exactly this server, URL, nonce and body."""
    parts = (
        server_keyid.encode("ascii"),
        public_url.encode("ascii"),
        nonce.encode("ascii"),
        key.raw,
        hashlib.sha256(body).digest(),
    )
    if not key.verify(signature, domain_bytes(REGISTER_DOMAIN, *parts)):
        raise Refused(
            "challenge_invalid",
            f"the signature does not cover this server (sha256:{server_keyid}), {public_url}, nonce and body",
        )


def _mac(secret: bytes, content: bytes) -> bytes:
    return hmac.digest(secret, domain_bytes(_NONCE_DOMAIN, content), hashlib.sha256)


def _unbase64url(text: str, what: str) -> bytes:
    """Strict: one text per value, so that one nonce cannot be spent under two spellings."""
    try:
        raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("challenge_invalid", f"the {what} is not base64url") from error
    if base64.urlsafe_b64encode(raw).decode() != text:
        raise Refused("challenge_invalid", f"the {what} is not canonical base64url")
    return raw
