"""The trust document: a control plane's public key in a file, to verify evidence against, and the runners'
keys that were found compromised.

It proves nothing by itself. Whoever verifies must have got it, or its fingerprint, by a road that they
trust.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta

from edgeproof.contract.base import Signed
from edgeproof.contract.canonical import canonical, decode_canonical
from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.ids import Base64Key, UtcTime


class TrustedKey(Signed, frozen=True, kw_only=True):
    """``fingerprint`` is ``sha256:`` and the digest of the raw key."""

    public_key: Base64Key
    fingerprint: str


class RevokedKey(Signed, frozen=True, kw_only=True):
    """A runner's key (base64): what the control plane received from it since then counts for nothing."""

    public_key: Base64Key
    compromised_since: UtcTime
    reason: Annotated[str, Meta(max_length=500)]


class TrustDocument(Signed, frozen=True, kw_only=True, omit_defaults=True):
    """``edgeproof-trust-v1``. ``revoked`` is left out where nothing was revoked."""

    schema_version: Literal["edgeproof-trust-v1"]
    keys: tuple[TrustedKey, ...]
    revoked: tuple[RevokedKey, ...] = ()


class Trust(NamedTuple):
    """Whose signature counts, and whose measurements do not, since when."""

    key: PublicKey
    revoked: tuple[RevokedKey, ...] = ()


def trust_document(key: PublicKey, revoked: Iterable[RevokedKey] = ()) -> bytes:
    """The canonical bytes of the document that trusts ``key``, and not what ``revoked`` keys measured."""
    entry = TrustedKey(public_key=key.base64, fingerprint=key.fingerprint)
    listed = tuple(sorted(set(revoked), key=lambda one: (one.public_key, one.compromised_since, one.reason)))
    return canonical(TrustDocument(schema_version="edgeproof-trust-v1", keys=(entry,), revoked=listed))


def load_trust(data: bytes) -> Trust:
    """What a trust document says. Raises ``Refused``: ``not_canonical``, ``envelope_invalid``,
    ``key_unknown``."""
    document = decode_canonical(data, TrustDocument, what="trust document")
    if len(document.keys) != 1:
        raise Refused("key_unknown", f"the trust document names {len(document.keys)} keys, not one")
    (entry,) = document.keys
    key = PublicKey.from_base64(entry.public_key)
    if key.fingerprint != entry.fingerprint:
        raise Refused("key_unknown", "the trust document's fingerprint is not that of its key")
    return Trust(key, document.revoked)
