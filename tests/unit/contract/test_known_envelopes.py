"""What a key knows again: its own envelopes alone, so many, by all their bytes."""

from __future__ import annotations

import pytest

from edgeproof.contract.envelope import PublicKey, SigningKey, open_envelope
from edgeproof.contract.errors import Refused
from edgeproof.contract.known_envelopes import KnownEnvelopes

RAW = b"k" * 32
ELSEWHERE = SigningKey(RAW)
"""The same key in another process: it remembers nothing."""
FORGED = ELSEWHERE.seal(b"one").replace(b'"sig":"', b'"sig":"AAAA', 1)


def refusal(data: bytes, key: PublicKey) -> str:
    with pytest.raises(Refused) as caught:
        open_envelope(data, key)
    return caught.value.code


def test_an_ordinary_key_knows_none() -> None:
    assert ELSEWHERE.public.known is None
    assert PublicKey.from_base64(ELSEWHERE.public.base64).known is None


def test_what_it_sealed_is_known_at_once() -> None:
    key = SigningKey(RAW, remember=2)
    sealed = key.seal(b"one")
    assert key.public.known is not None
    assert sealed in key.public.known
    assert open_envelope(sealed, key.public) == b"one"


def test_what_was_sealed_elsewhere_is_known_once_its_signature_held() -> None:
    key, sealed = SigningKey(RAW, remember=2), ELSEWHERE.seal(b"one")
    assert key.public.known is not None
    assert sealed not in key.public.known
    assert open_envelope(sealed, key.public) == b"one"
    assert sealed in key.public.known


def test_what_was_refused_is_not_known() -> None:
    key = SigningKey(RAW, remember=2)
    assert [refusal(FORGED, key.public) for _ in range(2)] == ["signature_invalid"] * 2
    assert key.public.known is not None
    assert FORGED not in key.public.known


def test_the_signature_of_a_known_envelope_is_not_checked_again() -> None:
    known = KnownEnvelopes(2)
    known.add(FORGED)
    assert open_envelope(FORGED, PublicKey(ELSEWHERE.public.raw, known)) == b"one"
    assert refusal(FORGED, ELSEWHERE.public) == "signature_invalid"


def test_the_oldest_is_forgotten_and_checked_again() -> None:
    known = KnownEnvelopes(2)
    key = PublicKey(ELSEWHERE.public.raw, known)
    known.add(FORGED)
    first, second = ELSEWHERE.seal(b"first"), ELSEWHERE.seal(b"second")
    assert open_envelope(first, key) == b"first"
    assert FORGED in known
    assert open_envelope(second, key) == b"second"
    assert FORGED not in known
    assert first in known
    assert second in known
    assert refusal(FORGED, key) == "signature_invalid"


def test_one_of_another_key_is_not_opened_though_known() -> None:
    known = KnownEnvelopes(2)
    sealed = ELSEWHERE.seal(b"one")
    known.add(sealed)
    assert refusal(sealed, PublicKey(SigningKey(b"s" * 32).public.raw, known)) == "key_unknown"
