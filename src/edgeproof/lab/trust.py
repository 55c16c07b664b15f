"""The trust document: a control plane's public key in a file, to verify evidence against.

It proves nothing by itself. Whoever verifies must have got it, or its fingerprint, by a road that they
trust.
"""

from __future__ import annotations

from typing import Literal

from edgeproof.contract.base import Signed
from edgeproof.contract.canonical import canonical, decode_canonical
from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.ids import Base64Key


class TrustedKey(Signed, frozen=True, kw_only=True):
    """``fingerprint`` is ``sha256:`` and the digest of the raw key."""

    public_key: Base64Key
    fingerprint: str


class TrustDocument(Signed, frozen=True, kw_only=True):
    """``edgeproof-trust-v1``."""

    schema_version: Literal["edgeproof-trust-v1"]
    keys: tuple[TrustedKey, ...]


def trust_document(key: PublicKey) -> bytes:
    """The canonical bytes of the document that trusts ``key``."""
    entry = TrustedKey(public_key=key.base64, fingerprint=key.fingerprint)
    return canonical(TrustDocument(schema_version="edgeproof-trust-v1", keys=(entry,)))


def load_trust(data: bytes) -> PublicKey:
    """The one key trusted. Raises ``Refused``: ``not_canonical``, ``envelope_invalid``, ``key_unknown``."""
    document = decode_canonical(data, TrustDocument, what="trust document")
    if len(document.keys) != 1:
        raise Refused("key_unknown", f"the trust document names {len(document.keys)} keys, not one")
    (entry,) = document.keys
    key = PublicKey.from_base64(entry.public_key)
    if key.fingerprint != entry.fingerprint:
        raise Refused("key_unknown", "the trust document's fingerprint is not that of its key")
    return key
