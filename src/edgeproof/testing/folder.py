"""A whole evidence folder in memory, with its signed decision: for tests of what verifies folders."""

from __future__ import annotations

from dataclasses import dataclass

from edgeproof.contract.canonical import canonical, sha256_hex
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.statements import DecisionEnvelopeStatement
from edgeproof.lab.dossier import Dossier, assemble
from edgeproof.lab.judge import judge
from edgeproof.lab.verify import evidence_name
from edgeproof.testing.evidence import EvidenceSet, Scene, make_evidence


@dataclass(frozen=True)
class EvidenceFolder:
    """``files`` by name, decision included; what they were made of beside them."""

    files: dict[str, bytes]
    evidence: EvidenceSet
    dossier: Dossier
    decision: DecisionEnvelopeStatement
    decision_file: str

    @property
    def decision_digest(self) -> str:
        return sha256_hex(self.files[self.decision_file])


def make_folder(
    scene: Scene | None = None,
    *,
    with_guard: bool = True,
    control_plane: SigningKey | None = None,
    runner: SigningKey | None = None,
) -> EvidenceFolder:
    """The folder that a job measuring ``scene`` leaves behind."""
    made = make_evidence(scene, control_plane=control_plane, runner=runner)
    dossier = assemble(made.documents, made.evidence, made.control_plane.public)
    decision = judge(dossier, with_guard=with_guard)
    envelope = made.control_plane.seal(canonical(decision))
    name = evidence_name("decision", sha256_hex(envelope))
    return EvidenceFolder({**made.files(), name: envelope}, made, dossier, decision, name)
