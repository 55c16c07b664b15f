"""Envelopes against the DSSE library, both ways, and no way in that was not there before."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as DsseEnvelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from edgeproof.contract.canonical import canonical
from edgeproof.contract.envelope import PAYLOAD_TYPE, PublicKey, SigningKey, open_envelope, peek_payload
from edgeproof.contract.errors import Refused
from edgeproof.testing import plain_signing

RAW = b"k" * 32
PRIVATE = Ed25519PrivateKey.from_private_bytes(RAW)
KEY = SigningKey(RAW)
LIBRARY_KEY = SSlibKey(KEY.public.keyid, "ed25519", "ed25519", {"public": KEY.public.raw.hex()})
STRANGER = SigningKey(b"s" * 32)
#: Of every length that base64 pads otherwise.
SEALED = [KEY.seal(payload) for payload in (b"", b"a", b"ab", b"abc", b'{"a":"\xc3\xa4"}' * 9)]


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except Refused as error:
        return error.code, error.detail


def opened_alike(data: bytes) -> None:
    """By a key that knows nothing, by one that knows the envelopes of ``SEALED``, by another's key."""
    expected = outcome(plain_signing.open_envelope, data, KEY.public)
    assert outcome(open_envelope, data, KEY.public) == expected
    knowing = SigningKey(RAW, remember=9)
    for one in SEALED:
        assert open_envelope(one, knowing.public) == peek_payload(one)[1]
    for _ in range(2):  # by then it might know this one too
        assert outcome(open_envelope, data, knowing.public) == expected
    assert outcome(peek_payload, data) == outcome(plain_signing.peek_payload, data)
    assert outcome(open_envelope, data, STRANGER.public) == outcome(
        plain_signing.open_envelope, data, STRANGER.public
    )


@given(st.binary(max_size=200))
def test_what_we_seal_is_what_the_library_seals_and_verifies(payload: bytes) -> None:
    sealed = KEY.seal(payload)
    assert sealed == plain_signing.seal(PRIVATE, payload)
    read = DsseEnvelope.from_dict(json.loads(sealed))
    assert read.payload == payload
    assert set(read.verify([LIBRARY_KEY], 1)) == {KEY.public.keyid}


@given(st.binary(max_size=200))
def test_what_the_library_seals_we_open(payload: bytes) -> None:
    envelope = DsseEnvelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(PRIVATE, LIBRARY_KEY))
    assert open_envelope(canonical(envelope.to_dict()), KEY.public) == payload


PIECES = [b" ", b"=", b"A", b"-", b"_", b"\n", b"\\u0041", b"\\/", b"\xff", b"0"]


@given(st.sampled_from(SEALED), st.data())
def test_changed_bytes_are_opened_or_refused_alike(sealed: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(sealed) - 1))
    end = at + data.draw(st.integers(0, 2))
    opened_alike(sealed[:at] + data.draw(st.sampled_from(PIECES) | st.binary(max_size=2)) + sealed[end:])


SPELLINGS: list[Callable[[str], str]] = [
    lambda text: text,
    lambda text: text.rstrip("="),
    lambda text: text + "=",
    lambda text: text + "====",
    lambda text: text + "\n",
    lambda text: " " + text,
    lambda text: text.replace("+", "-").replace("/", "_"),
    # Bits that no byte takes up: another spelling of the same bytes.
    lambda text: text.replace("A=", "B=").replace("Q=", "R=").replace("g=", "h=").replace("w=", "x="),
    lambda text: text[:-1],
    lambda text: text[1:],
    lambda _: "",
    lambda text: "ä" + text,
]


@given(
    st.sampled_from(SEALED),
    st.sampled_from(SPELLINGS),
    st.sampled_from(SPELLINGS),
    st.sampled_from([PAYLOAD_TYPE, "text/plain", "", "\U00010000"]),
    st.sampled_from([KEY.public.keyid, STRANGER.public.keyid, "", "ä\U00010000"]),
    st.integers(0, 2),
    st.sampled_from([{}, {"a": 1}, {"payload": 1}, {"payload": None}, {"signatures": {}}, {"\U00010000": 1}]),
    st.booleans(),
)
def test_changed_fields_are_opened_or_refused_alike(
    sealed: bytes,
    payload: Callable[[str], str],
    signature: Callable[[str], str],
    payload_type: str,
    keyid: str,
    count: int,
    surplus: dict[str, Any],
    as_canonical: bool,
) -> None:
    value = json.loads(sealed)
    one = value["signatures"][0]
    value["payload"] = payload(value["payload"])
    value["payloadType"] = payload_type
    value["signatures"] = [{"keyid": keyid, "sig": signature(one["sig"])}] * count
    value |= surplus
    opened_alike(canonical(value) if as_canonical else json.dumps(value).encode())


@given(st.sampled_from(SEALED), st.binary(min_size=60, max_size=70))
def test_no_other_signature_holds(sealed: bytes, signature: bytes) -> None:
    value = json.loads(sealed)
    value["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    data = canonical(value)
    opened_alike(data)
    with pytest.raises(Refused):
        open_envelope(data, KEY.public)


@given(st.text(max_size=9), st.binary(max_size=9), st.binary(max_size=9))
def test_a_signature_in_a_domain_is_none_of_an_envelope(domain: str, part: bytes, payload: bytes) -> None:
    signature = KEY.sign_in_domain(domain, part, payload)
    assert not KEY.public.verify_payload(signature, payload)


def test_every_bit_of_an_envelope_that_is_known_matters() -> None:
    known = SigningKey(RAW, remember=9)
    sealed = known.seal(b"it is known")
    for bit in range(8 * len(sealed)):
        altered = bytearray(sealed)
        altered[bit // 8] ^= 1 << bit % 8
        assert isinstance(outcome(open_envelope, bytes(altered), known.public), tuple)
    assert open_envelope(sealed, known.public) == b"it is known"
    assert PublicKey(known.public.raw).known is None
