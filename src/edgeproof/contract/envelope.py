"""DSSE envelopes with Ed25519 (https://github.com/secure-systems-lab/dsse).

What is *not* verified here: whether the key may sign that kind of statement, and whether the
statement fits anything else. ``open_envelope`` returns a payload only after the signature held.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from securesystemslib.dsse import Envelope as DsseEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey

from edgeproof.contract.base import Signed
from edgeproof.contract.canonical import decode_canonical
from edgeproof.contract.errors import Refused
from edgeproof.contract.known_envelopes import KnownEnvelopes

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"


class EnvelopeSignature(Signed, frozen=True, kw_only=True):
    keyid: str
    sig: str


class Envelope(Signed, frozen=True, kw_only=True):
    """The JSON form; its canonical bytes are what a digest of an envelope covers."""

    payload: str
    payloadType: str
    signatures: tuple[EnvelopeSignature, ...]


class _UndoneSignature(Signed, frozen=True, kw_only=True):
    keyid: str
    sig: bytes


class _Undone(Signed, frozen=True, kw_only=True):
    """An ``Envelope`` with its base64 undone. Without numbers, its sorted JSON is canonical."""

    payload: bytes
    payloadType: str
    signatures: tuple[_UndoneSignature, ...]


_DECODER: Final = msgspec.json.Decoder(_Undone)
_ENCODER: Final = msgspec.json.Encoder(order="sorted")


class PublicKey:
    """A raw Ed25519 public key. ``keyid`` is the hexadecimal SHA-256 of its 32 bytes.

    ``known`` are envelopes of this key whose signature is not checked again; only a process's own key
    has any.
    """

    def __init__(self, raw: bytes, known: KnownEnvelopes | None = None) -> None:
        if len(raw) != 32:
            raise Refused("envelope_invalid", "an Ed25519 public key has 32 bytes")
        self.raw = raw
        self.keyid = hashlib.sha256(raw).hexdigest()
        self.known = known
        self._key = Ed25519PublicKey.from_public_bytes(raw)
        self.dsse_key = SSlibKey(self.keyid, "ed25519", "ed25519", {"public": raw.hex()})

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

    def verify_payload(self, signature: bytes, payload: bytes) -> bool:
        """By DSSE: the payload's type and length are under the signature too."""
        told = Signature(self.keyid, signature.hex())
        try:
            DsseEnvelope(payload, PAYLOAD_TYPE, {self.keyid: told}).verify([self.dsse_key], 1)
        except (VerificationError, ValueError):
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)


class SigningKey:
    """An Ed25519 private key that signs statements and, in a domain of its own, challenges.

    ``remember``: so many of the envelopes that it sealed or that its ``public`` opened are known again, for
    a process that reads back what it signed.
    """

    def __init__(self, raw: bytes, *, remember: int = 0) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(raw)
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public = PublicKey(public, KnownEnvelopes(remember) if remember else None)
        self._signer = CryptoSigner(self._key, self.public.dsse_key)

    @classmethod
    def generate(cls) -> SigningKey:
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    def private_bytes(self) -> bytes:
        """The 32 secret bytes, for storage."""
        return self._key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())

    def seal(self, payload: bytes) -> bytes:
        """The canonical bytes of an envelope around ``payload``."""
        signature = DsseEnvelope(payload, PAYLOAD_TYPE, {}).sign(self._signer)
        told = _UndoneSignature(keyid=self.public.keyid, sig=bytes.fromhex(signature.signature))
        sealed = _ENCODER.encode(_Undone(payload=payload, payloadType=PAYLOAD_TYPE, signatures=(told,)))
        if self.public.known is not None:
            self.public.known.add(sealed)
        return sealed

    def sign_in_domain(self, domain: str, *parts: bytes) -> bytes:
        """Sign length-prefixed ``parts`` under ``domain``; can never be read as a DSSE signature."""
        return self._key.sign(domain_bytes(domain, *parts))


def domain_bytes(domain: str, *parts: bytes) -> bytes:
    """``domain NUL`` then each part behind its length as 8 bytes big-endian."""
    return domain.encode() + b"\0" + b"".join(len(part).to_bytes(8, "big") + part for part in parts)


class _Parts(NamedTuple):
    """``signature`` is still text where its base64 may not hold."""

    keyid: str
    payload: bytes
    signature: bytes | str


def peek_payload(data: bytes) -> tuple[str, bytes]:
    """The key id and payload of an envelope whose signature has NOT been checked."""
    parts = _parts(data)
    return parts.keyid, parts.payload


def open_envelope(data: bytes, key: PublicKey) -> bytes:
    """The payload, once canonical form, key id and signature hold. Raises ``Refused``."""
    keyid, payload, signature = _parts(data)
    if keyid != key.keyid:
        raise Refused("key_unknown", f"signed by key {keyid}, expected {key.keyid}")
    if isinstance(signature, str):
        signature = _unbase64(signature, "signature")
    if key.known is not None and data in key.known:
        return payload
    if not key.verify_payload(signature, payload):
        raise Refused("signature_invalid", f"the signature of key {keyid} does not hold")
    if key.known is not None:
        key.known.add(data)
    return payload


def _parts(data: bytes) -> _Parts:
    try:
        undone = _DECODER.decode(data)
        # Equal bytes are canonical JSON around canonical base64: nothing is left to check but what it says.
        if _ENCODER.encode(undone) == data and _says_what_it_should(undone):
            (signature,) = undone.signatures
            return _Parts(signature.keyid, undone.payload, signature.sig)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    return _parts_or_refusal(data)


def _says_what_it_should(envelope: Envelope | _Undone) -> bool:
    return envelope.payloadType == PAYLOAD_TYPE and len(envelope.signatures) == 1


def _parts_or_refusal(data: bytes) -> _Parts:
    """The long way, that tells which rule is broken."""
    envelope = decode_canonical(data, Envelope, what="envelope")
    if envelope.payloadType != PAYLOAD_TYPE:
        raise Refused("envelope_invalid", f"payload type {envelope.payloadType!r} is not {PAYLOAD_TYPE!r}")
    if len(envelope.signatures) != 1:
        raise Refused("envelope_invalid", "exactly one signature is expected")
    (signature,) = envelope.signatures
    return _Parts(signature.keyid, _unbase64(envelope.payload, "payload"), signature.sig)


def _unbase64(text: str, what: str) -> bytes:
    """Strict: one text per value, so that no bit of an encoding is free."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("envelope_invalid", f"{what} is not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise Refused("envelope_invalid", f"{what} is not canonical base64")
    return raw
