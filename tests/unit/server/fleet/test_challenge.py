"""Nonces and proofs: what is bound, bit by bit."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from edgeproof.contract.envelope import PublicKey, SigningKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import REGISTER_DOMAIN
from edgeproof.server.fleet.challenge import check_signature, new_nonce, nonce_expiry, split_proof

SECRET = b"s" * 32
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
KEY = SigningKey(b"k" * 32)
OTHER = SigningKey(b"o" * 32)
NONCE = new_nonce(SECRET, KEY.public, NOW, b"u" * 16)
SERVER = "ab" * 32
URL = "https://plane.test:7411"
BODY = b'{"hostname":"one"}'


def sign(domain: str, *parts: bytes) -> bytes:
    return KEY.sign_in_domain(domain, *parts)


def parts(*, server: str = SERVER, url: str = URL, nonce: str = NONCE, body: bytes = BODY) -> list[bytes]:
    digest = hashlib.sha256(body).digest()
    return [server.encode(), url.encode(), nonce.encode(), KEY.public.raw, digest]


def check(signature: bytes, key: PublicKey = KEY.public) -> None:
    check_signature(key, signature, server_keyid=SERVER, public_url=URL, nonce=NONCE, body=BODY)


def test_a_nonce_lives_sixty_seconds() -> None:
    assert nonce_expiry(SECRET, KEY.public, NONCE) == NOW + timedelta(seconds=60)


def test_two_nonces_of_one_moment_differ() -> None:
    assert new_nonce(SECRET, KEY.public, NOW, b"v" * 16) != NONCE


def test_a_nonce_is_for_one_key() -> None:
    with pytest.raises(Refused, match="another key") as refused:
        nonce_expiry(SECRET, OTHER.public, NONCE)
    assert refused.value.code == "challenge_invalid"


def test_a_nonce_of_another_control_plane_is_refused() -> None:
    with pytest.raises(Refused, match="not one of this"):
        nonce_expiry(b"t" * 32, KEY.public, NONCE)


def test_every_bit_of_a_nonce_counts() -> None:
    raw = base64.urlsafe_b64decode(NONCE)
    for position in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(Refused) as refused:
            nonce_expiry(SECRET, KEY.public, base64.urlsafe_b64encode(changed).decode())
        assert refused.value.code == "challenge_invalid"


@pytest.mark.parametrize("text", ["", "é", "AAAA", NONCE + "=", NONCE[:-4], NONCE + "\n", "!" * 8])
def test_other_texts_are_no_nonces(text: str) -> None:
    with pytest.raises(Refused) as refused:
        nonce_expiry(SECRET, KEY.public, text)
    assert refused.value.code == "challenge_invalid"


def test_the_right_signature_passes() -> None:
    check(sign(REGISTER_DOMAIN, *parts()))


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(parts(server="cd" * 32), id="server key"),
        pytest.param(parts(url="https://relay.test:7411"), id="public url"),
        pytest.param(parts(nonce=new_nonce(SECRET, KEY.public, NOW, b"v" * 16)), id="nonce"),
        pytest.param(parts(body=b'{"hostname":"two"}'), id="body"),
        pytest.param(parts()[:-1], id="without the body"),
        pytest.param([b"".join(parts())], id="parts run together"),
    ],
)
def test_a_signature_over_anything_else_is_refused(wrong: list[bytes]) -> None:
    with pytest.raises(Refused) as refused:
        check(sign(REGISTER_DOMAIN, *wrong))
    assert refused.value.code == "challenge_invalid"


def test_another_domain_or_key_is_refused() -> None:
    with pytest.raises(Refused):
        check(sign("edgeproof-other-v1", *parts()))
    with pytest.raises(Refused):
        check(sign(REGISTER_DOMAIN, *parts()), OTHER.public)


def test_a_proof_is_a_nonce_a_dot_and_a_signature() -> None:
    signature = base64.urlsafe_b64encode(b"s" * 64).decode()
    assert split_proof(f"{NONCE}.{signature}") == (NONCE, b"s" * 64)
    for text in ("", NONCE, f"{NONCE}.x", f"{NONCE}.{signature}.", f"{NONCE}.{signature}é"):
        with pytest.raises(Refused) as refused:
            split_proof(text)
        assert refused.value.code == "challenge_invalid"
