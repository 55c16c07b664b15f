"""What a dossier needs, by itself. How its chain can break: ``tests/property/lab/test_verify_forgery.py``."""

import pytest

from edgeproof.contract.errors import Refused
from edgeproof.contract.statements import EvidenceRef
from edgeproof.lab.dossier import assemble
from edgeproof.testing.evidence import EvidenceSet, Scene, key_for, make_evidence

MADE = make_evidence(Scene(images=4, calls=1, blocks=1))
KEY = MADE.control_plane.public


def code_of(made: EvidenceSet = MADE, **changes: object) -> tuple[str, str]:
    given = {"documents": made.documents, "evidence": made.evidence, "control_plane_key": KEY, **changes}
    with pytest.raises(Refused) as caught:
        assemble(**given)
    return caught.value.code, caught.value.detail


def test_a_dossier_holds_what_was_measured() -> None:
    dossier = assemble(MADE.documents, MADE.evidence, KEY)
    measured = dossier.measurement.predicate
    assert dossier.job_id == "job_test"
    assert dossier.policy_digest == dossier.runtime_spec.predicate.policy_digest
    assert dossier.baseline_build.subject[0].digest.sha256 == measured.config.baseline.artifact
    assert dossier.candidate_build.subject[0].digest.sha256 == measured.config.candidate.artifact
    assert len(dossier.samples.pairs) == 8
    assert dossier.evidence == tuple(sorted(MADE.evidence, key=lambda one: (one.kind, one.digest)))


def test_the_order_of_the_evidence_does_not_matter() -> None:
    assert assemble(MADE.documents, MADE.evidence[::-1], KEY) == assemble(MADE.documents, MADE.evidence, KEY)


def test_documents_that_are_not_named_are_not_read() -> None:
    assert assemble({**MADE.documents, "0" * 64: b"junk"}, MADE.evidence, KEY).job_id == "job_test"


@pytest.mark.parametrize("reference", MADE.evidence, ids=lambda one: f"{one.kind}-{one.digest[:6]}")
def test_each_document_is_needed(reference: EvidenceRef) -> None:
    documents = {name: data for name, data in MADE.documents.items() if name != reference.digest}
    code, detail = code_of(documents=documents)
    assert (code, reference.digest in detail) == ("evidence_missing", True)
    fewer = tuple(one for one in MADE.evidence if one != reference)
    assert code_of(evidence=fewer)[0] == "chain_broken"


def test_a_document_under_another_digest_is_refused() -> None:
    one, other = MADE.evidence[:2]
    documents = {**MADE.documents, one.digest: MADE.documents[other.digest]}
    assert code_of(documents=documents) == ("chain_broken", f"{one.kind} {one.digest} has other bytes")


def test_evidence_named_twice_is_refused() -> None:
    assert code_of(evidence=(*MADE.evidence, MADE.evidence[0]))[0] == "chain_broken"


def test_another_control_plane_is_refused() -> None:
    assert code_of(control_plane_key=key_for("a stranger").public)[0] == "key_unknown"


def test_a_document_of_another_kind_is_refused() -> None:
    kinds = {"samples": "quality", "quality": "samples"}
    moved = tuple(EvidenceRef(kind=kinds.get(one.kind, one.kind), digest=one.digest) for one in MADE.evidence)
    assert code_of(evidence=moved) == ("chain_broken", "the measurement names other raw samples")
