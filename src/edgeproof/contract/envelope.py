"""DSSE envelopes with Ed25519 (https://github.com/secure-systems-lab/dsse).

What is *not* verified here: whether the key may sign that kind of statement, and whether the
statement fits anything else. ``open_envelope`` returns a payload only after the signature held.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from securesystemslib.dsse import Envelope as DsseEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from edgeproof.contract.base import Signed
from edgeproof.contract.canonical import canonical, decode_canonical
from edgeproof.contract.errors import Refused

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"


class EnvelopeSignature(Signed, frozen=True, kw_only=True):
    keyid: str
    sig: str


class Envelope(Signed, frozen=True, kw_only=True):
    """The JSON form; its canonical bytes are what a digest of an envelope covers."""

    payload: str
    payloadType: str
    signatures: tuple[EnvelopeSignature, ...]


class PublicKey:
    """A raw Ed25519 public key. ``keyid`` is the hexadecimal SHA-256 of its 32 bytes."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) != 32:
            raise Refused("envelope_invalid", "an Ed25519 public key has 32 bytes")
        self.raw = raw
        self.keyid = hashlib.sha256(raw).hexdigest()
        self._key = Ed25519PublicKey.from_public_bytes(raw)

    @classmethod
    def from_base64(cls, text: str) -> PublicKey:
        return cls(_unbase64(text, "public key"))

    @property
    def base64(self) -> str:
        return base64.b64encode(self.raw).decode()

    @property
    def fingerprint(self) -> str:
        return f"sha256:{self.keyid}"

    def verify(self, signature: bytes, message: bytes) -> bool:
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)


class SigningKey:
    """An Ed25519 private key that signs statements and, in a domain of its own, challenges."""

    def __init__(self, raw: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(raw)
        self.public = PublicKey(self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @classmethod
    def generate(cls) -> SigningKey:
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    def private_bytes(self) -> bytes:
        """The 32 secret bytes, for storage."""
        return self._key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())

    def seal(self, payload: bytes) -> bytes:
        """The canonical bytes of an envelope around ``payload``."""
        envelope = DsseEnvelope(payload, PAYLOAD_TYPE, {})
        signature = envelope.sign(CryptoSigner(self._key, _sslib_key(self.public)))
        return canonical(
            Envelope(
                payload=base64.b64encode(payload).decode(),
                payloadType=PAYLOAD_TYPE,
                signatures=(
                    EnvelopeSignature(
                        keyid=self.public.keyid,
                        sig=base64.b64encode(bytes.fromhex(signature.signature)).decode(),
                    ),
                ),
            )
        )

    def sign_in_domain(self, domain: str, *parts: bytes) -> bytes:
        """Sign length-prefixed ``parts`` under ``domain``; can never be read as a DSSE signature."""
        return self._key.sign(domain_bytes(domain, *parts))


def domain_bytes(domain: str, *parts: bytes) -> bytes:
    """``domain NUL`` then each part behind its length as 8 bytes big-endian."""
    return domain.encode() + b"\0" + b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def peek_payload(data: bytes) -> tuple[str, bytes]:
    """The key id and payload of an envelope whose signature has NOT been checked."""
    envelope = decode_canonical(data, Envelope, what="envelope")
    if envelope.payloadType != PAYLOAD_TYPE:
        raise Refused("envelope_invalid", f"payload type {envelope.payloadType!r} is not {PAYLOAD_TYPE!r}")
    if len(envelope.signatures) != 1:
        raise Refused("envelope_invalid", "exactly one signature is expected")
    return envelope.signatures[0].keyid, _unbase64(envelope.payload, "payload")


def open_envelope(data: bytes, key: PublicKey) -> bytes:
    """The payload, once canonical form, key id and signature hold. Raises ``Refused``."""
    keyid, payload = peek_payload(data)
    if keyid != key.keyid:
        raise Refused("key_unknown", f"signed by key {keyid}, expected {key.keyid}")
    envelope = decode_canonical(data, Envelope, what="envelope")
    signature = _unbase64(envelope.signatures[0].sig, "signature")
    dsse = DsseEnvelope.from_dict(
        {
            "payload": envelope.payload,
            "payloadType": envelope.payloadType,
            "signatures": [{"keyid": keyid, "sig": base64.b64encode(signature).decode()}],
        }
    )
    try:
        dsse.verify([_sslib_key(key)], 1)
    except (VerificationError, ValueError) as error:
        raise Refused("signature_invalid", f"the signature of key {keyid} does not hold") from error
    return payload


def _sslib_key(key: PublicKey) -> SSlibKey:
    return SSlibKey(key.keyid, "ed25519", "ed25519", {"public": key.raw.hex()})


def _unbase64(text: str, what: str) -> bytes:
    """Strict: one text per value, so that no bit of an encoding is free."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("envelope_invalid", f"{what} is not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise Refused("envelope_invalid", f"{what} is not canonical base64")
    return raw
