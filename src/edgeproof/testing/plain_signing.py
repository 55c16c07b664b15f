"""Canonical bytes and envelopes by the libraries alone, step by step: what ``edgeproof.contract`` must equal.

Slow and plain on purpose: the oracle of the property tests and the other side of ``benchmarks/signing.py``.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, TypeVar

import msgspec
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope as DsseEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from edgeproof.contract.envelope import PAYLOAD_TYPE, Envelope, EnvelopeSignature, PublicKey
from edgeproof.contract.errors import Refused

T = TypeVar("T")


def canonical(value: Any) -> bytes:
    """Raises ``ValueError`` as ``edgeproof.contract.canonical`` does, in the same words."""
    try:
        return rfc8785.dumps(msgspec.to_builtins(value))
    except rfc8785.CanonicalizationError as error:
        raise ValueError(f"not canonically encodable: {error}") from error


def decode_canonical(data: bytes, type_: type[T], *, what: str) -> T:
    """Raises ``Refused`` (``not_canonical``)."""
    try:
        value = msgspec.json.decode(data, type=type_)
        same = canonical(value) == data
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Refused("not_canonical", f"{what}: {error}") from error
    if not same:
        raise Refused("not_canonical", f"{what}: the bytes are not the canonical encoding of their content")
    return value


def seal(private: Ed25519PrivateKey, payload: bytes) -> bytes:
    """The canonical bytes of an envelope around ``payload``."""
    key = PublicKey(private.public_key().public_bytes_raw())
    signature = DsseEnvelope(payload, PAYLOAD_TYPE, {}).sign(CryptoSigner(private, _library_key(key)))
    told = EnvelopeSignature(
        keyid=key.keyid, sig=base64.b64encode(bytes.fromhex(signature.signature)).decode()
    )
    return canonical(
        Envelope(payload=base64.b64encode(payload).decode(), payloadType=PAYLOAD_TYPE, signatures=(told,))
    )


def peek_payload(data: bytes) -> tuple[str, bytes]:
    """Key id and payload of an envelope whose signature is not checked. Raises ``Refused``."""
    envelope = decode_canonical(data, Envelope, what="envelope")
    if envelope.payloadType != PAYLOAD_TYPE:
        raise Refused("envelope_invalid", f"payload type {envelope.payloadType!r} is not {PAYLOAD_TYPE!r}")
    if len(envelope.signatures) != 1:
        raise Refused("envelope_invalid", "exactly one signature is expected")
    return envelope.signatures[0].keyid, _unbase64(envelope.payload, "payload")


def open_envelope(data: bytes, key: PublicKey) -> bytes:
    """The payload. Raises ``Refused``."""
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
        dsse.verify([_library_key(key)], 1)
    except (VerificationError, ValueError) as error:
        raise Refused("signature_invalid", f"the signature of key {keyid} does not hold") from error
    return payload


def _library_key(key: PublicKey) -> SSlibKey:
    return SSlibKey(key.keyid, "ed25519", "ed25519", {"public": key.raw.hex()})


def _unbase64(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("envelope_invalid", f"{what} is not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise Refused("envelope_invalid", f"{what} is not canonical base64")
    return raw
