"""Key-based Sigstore bundles: the envelope comes out as it went in; everything else is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from edgeproof.contract.envelope import SigningKey, open_envelope
from edgeproof.contract.errors import Refused
from edgeproof.contract.sigstore_bundle import bundle_of, envelope_in, is_bundle

KEY = SigningKey(b"k" * 32)
ENVELOPE = KEY.seal(b'{"a":1}')
BUNDLE = bundle_of(ENVELOPE)


def altered(edit: Callable[[Any], Any]) -> bytes:
    value = json.loads(BUNDLE)
    edit(value)
    return json.dumps(value, indent=2).encode()


def test_the_envelope_comes_out_byte_for_byte() -> None:
    assert is_bundle(BUNDLE)
    assert envelope_in(BUNDLE, "") == ENVELOPE
    assert open_envelope(envelope_in(BUNDLE, ""), KEY.public) == b'{"a":1}'


def test_white_space_and_unknown_fields_of_the_bundle_do_not_matter() -> None:
    bundle = altered(lambda it: it.update(other=1, verificationMaterial={"publicKey": {}, "tlogEntries": []}))
    assert envelope_in(bundle, "") == ENVELOPE


def test_a_signature_without_a_key_id_gets_the_expected_one() -> None:
    bundle = altered(lambda it: it["dsseEnvelope"]["signatures"][0].pop("keyid"))
    assert envelope_in(bundle, KEY.public.keyid) == ENVELOPE


def test_a_changed_payload_does_not_verify() -> None:
    bundle = altered(lambda it: it["dsseEnvelope"].update(payload="eyJhIjoyfQ=="))
    with pytest.raises(Refused) as caught:
        open_envelope(envelope_in(bundle, ""), KEY.public)
    assert caught.value.code == "signature_invalid"


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda it: it["verificationMaterial"].update(certificate={"rawBytes": ""}), "keyless_not_supported"),
        (
            lambda it: it.update(verificationMaterial={"x509CertificateChain": {"certificates": []}}),
            "keyless_not_supported",
        ),
        (lambda it: it.update(verificationMaterial={}), "envelope_invalid"),
        (lambda it: it.pop("verificationMaterial"), "envelope_invalid"),
        (lambda it: it.pop("dsseEnvelope"), "envelope_invalid"),
        (lambda it: it["dsseEnvelope"].update(payload=1), "envelope_invalid"),
    ],
)
def test_other_bundles_are_refused(edit: Callable[[Any], Any], code: str) -> None:
    with pytest.raises(Refused) as caught:
        envelope_in(altered(edit), "")
    assert caught.value.code == code


@pytest.mark.parametrize(
    "data", [ENVELOPE, b"", b"[]", b"{}", b'{"mediaType":1}', b'{"mediaType":"text/plain"}', b"[" * 9000]
)
def test_what_is_no_bundle(data: bytes) -> None:
    assert not is_bundle(data)
