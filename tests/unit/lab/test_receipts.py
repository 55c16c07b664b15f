"""Receipts among a decision's evidence: one for each result and fitting it, or none at all."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edgeproof.contract.canonical import canonical, sha256_hex
from edgeproof.contract.errors import Refused
from edgeproof.contract.receipts import Receipt
from edgeproof.contract.statements import EvidenceRef
from edgeproof.lab.dossier import assemble
from edgeproof.lab.verify import evidence_name, verify
from edgeproof.testing.evidence import Scene, key_for, make_evidence
from edgeproof.testing.folder import make_folder

MADE = make_evidence(Scene(images=4, calls=1, blocks=1, receipts=True))
KEY = MADE.control_plane.public
RECEIPTS = [one for one in MADE.evidence if one.kind == "receipt"]


def with_receipt(index: int, **changes: Any) -> Refused:
    """What is said of the evidence with one receipt changed."""
    old = RECEIPTS[index]
    receipt = Receipt(**{**_fields(MADE.documents[old.digest]), **changes})
    data = canonical(receipt)
    new = EvidenceRef(kind="receipt", digest=sha256_hex(data))
    evidence = [one for one in MADE.evidence if one != old] + [new]
    with pytest.raises(Refused) as caught:
        assemble({**MADE.documents, new.digest: data}, evidence, KEY)
    return caught.value


def _fields(data: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.json.decode(data)
    return fields


def test_the_measurements_receipt_time_is_told() -> None:
    assert len(RECEIPTS) == 3
    assert assemble(MADE.documents, MADE.evidence, KEY).received_at == "2026-01-02T03:04:06Z"


def test_evidence_from_before_there_were_receipts_still_holds() -> None:
    old = [one for one in MADE.evidence if one.kind != "receipt"]
    assert assemble(MADE.documents, old, KEY).received_at is None


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize(
    "changes",
    [
        {"job_id": "another"},
        {"run_id": "another"},
        {"attempt": 2},
        {"runner_key": key_for("a stranger").public.base64},
        {"envelope": "0" * 64},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_receipt_that_does_not_fit_its_result_is_refused(index: int, changes: dict[str, Any]) -> None:
    assert with_receipt(index, **changes).code == "chain_broken"


def test_a_receipt_for_another_result_twice_is_refused() -> None:
    one, other = (_fields(MADE.documents[ref.digest]) for ref in RECEIPTS[:2])
    assert with_receipt(0, **{**other, "received_at": one["received_at"][:-1] + ".5Z"}).code == "chain_broken"


@pytest.mark.parametrize("index", range(3))
def test_every_receipt_is_needed(index: int) -> None:
    fewer = [one for one in MADE.evidence if one != RECEIPTS[index]]
    with pytest.raises(Refused) as caught:
        assemble(MADE.documents, fewer, KEY)
    assert caught.value.code == "chain_broken"


def test_a_folder_with_receipts_is_verified_and_says_the_time() -> None:
    folder = make_folder(Scene(images=4, calls=1, blocks=1, receipts=True))
    (decision,) = verify(folder.files, KEY).decisions
    assert decision.received_at == "2026-01-02T03:04:06Z"
    name = evidence_name("receipt", RECEIPTS[0].digest)
    with pytest.raises(Refused) as caught:
        verify({one: data for one, data in folder.files.items() if one != name}, KEY)
    assert caught.value.code == "evidence_missing"
    changed = folder.files[name].replace(b"03:04:06", b"03:04:07")
    with pytest.raises(Refused) as caught:
        verify({**folder.files, name: changed}, KEY)
    assert caught.value.code == "evidence_misnamed"
