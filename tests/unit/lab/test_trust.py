"""The trust document: one key, named by its own fingerprint."""

import pytest

from edgeproof.contract.canonical import canonical
from edgeproof.contract.errors import Refused
from edgeproof.lab.trust import Trust, load_trust, trust_document
from edgeproof.testing.evidence import key_for

KEY, OTHER = key_for("one").public, key_for("other").public


def entry(**changes: str) -> dict[str, str]:
    return {"public_key": KEY.base64, "fingerprint": KEY.fingerprint, **changes}


def document(*keys: dict[str, str], **changes: object) -> bytes:
    return canonical({"schema_version": "edgeproof-trust-v1", "keys": list(keys), **changes})


def test_a_key_survives_its_document() -> None:
    assert load_trust(trust_document(KEY)) == Trust(KEY)
    assert trust_document(KEY) == document(entry())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not_canonical"),
        (b"{}", "not_canonical"),
        (document(entry()) + b"\n", "not_canonical"),
        (document(entry(), surplus=1), "not_canonical"),
        (document(entry(), schema_version="edgeproof-trust-v2"), "not_canonical"),
        (document(), "key_unknown"),
        (document(entry(), entry()), "key_unknown"),
        (document(entry(fingerprint=OTHER.fingerprint)), "key_unknown"),
        (document(entry(public_key="!" * 44)), "envelope_invalid"),
        (document(entry(public_key=KEY.base64[:-1] + "A")), "envelope_invalid"),
    ],
)
def test_another_document_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(Refused) as caught:
        load_trust(data)
    assert caught.value.code == code
