"""Takes the DSSE envelope out of a Sigstore bundle that was signed with a key.

What is *not* verified here or anywhere: transparency log entries and timestamps of the bundle. Who signed
is decided as for a bare envelope, by the key that the job spec names; the bundle's own hint counts nothing.
Format: https://docs.sigstore.dev/about/bundle (``application/vnd.dev.sigstore.bundle``, 0.1 to 0.3).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from edgeproof.contract.canonical import canonical
from edgeproof.contract.envelope import Envelope, EnvelopeSignature
from edgeproof.contract.errors import Refused

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle"


class _Signature(msgspec.Struct, frozen=True, kw_only=True):
    sig: str
    keyid: str = ""


class _Dsse(msgspec.Struct, frozen=True, kw_only=True):
    payload: str
    payloadType: str
    signatures: tuple[_Signature, ...]


class _Material(msgspec.Struct, frozen=True, kw_only=True):
    publicKey: dict[str, Any] | None = None
    certificate: Any = None
    x509CertificateChain: Any = None


class _Bundle(msgspec.Struct, frozen=True, kw_only=True):
    mediaType: str
    verificationMaterial: _Material
    dsseEnvelope: _Dsse | None = None


def is_bundle(data: bytes) -> bool:
    """Whether the bytes are JSON that calls itself a Sigstore bundle."""
    try:
        named = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get("mediaType")
        return named is not None and msgspec.json.decode(named, type=str).startswith(MEDIA_TYPE)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False


def envelope_in(data: bytes, keyid: str) -> bytes:
    """The canonical bytes of the envelope inside; a signature that names no key gets ``keyid``.

    Raises ``Refused``: ``keyless_not_supported`` for a bundle with a certificate, else ``envelope_invalid``.
    """
    try:
        bundle = msgspec.json.decode(data, type=_Bundle)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Refused("envelope_invalid", f"the Sigstore bundle: {error}") from error
    material = bundle.verificationMaterial
    if material.certificate is not None or material.x509CertificateChain is not None:
        raise Refused("keyless_not_supported", "the bundle was signed with a certificate, not with a key")
    if material.publicKey is None:
        raise Refused("envelope_invalid", "the Sigstore bundle names no public key")
    if bundle.dsseEnvelope is None:
        raise Refused("envelope_invalid", "the Sigstore bundle has no DSSE envelope")
    inside = bundle.dsseEnvelope
    return canonical(
        Envelope(
            payload=inside.payload,
            payloadType=inside.payloadType,
            signatures=tuple(
                EnvelopeSignature(keyid=one.keyid or keyid, sig=one.sig) for one in inside.signatures
            ),
        )
    )


def bundle_of(envelope: bytes) -> bytes:
    """An envelope as a key-based bundle, for those who read no other form. The inverse of ``envelope_in``."""
    inside = msgspec.json.decode(envelope, type=Envelope)
    hint = inside.signatures[0].keyid if inside.signatures else ""
    return msgspec.json.encode(
        {
            "mediaType": f"{MEDIA_TYPE}.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": hint}},
            "dsseEnvelope": {
                "payload": inside.payload,
                "payloadType": inside.payloadType,
                "signatures": [{"sig": one.sig, "keyid": one.keyid} for one in inside.signatures],
            },
        }
    )
