"""Offline verification of an evidence folder: files in, verified decisions or the first refusal out.

Nothing of a decision is believed: the chain under it is assembled anew and the decision made again, byte
for byte. What is *not* verified: that the runner's device and toolchain told the truth in what they signed,
that the control plane's clock was right, and, without a trusted key, who made the set at all. See
``docs/verify.md``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from edgeproof.contract.canonical import canonical, decode_canonical, sha256_hex
from edgeproof.contract.envelope import PublicKey, peek_payload
from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import Decision
from edgeproof.contract.receipts import Receipt
from edgeproof.contract.statements import (
    DecisionEnvelopeStatement,
    EvidenceRef,
    JobSpecStatement,
    open_statement,
)
from edgeproof.lab.dossier import Dossier, assemble
from edgeproof.lab.judge import judge
from edgeproof.lab.trust import RevokedKey, load_trust, trust_document
from edgeproof.lab.withdrawn import rests_on_revoked

__all__ = ["Verified", "VerifiedDecision", "evidence_name", "load_trust", "trust_document", "verify"]

_NAME: Final = re.compile(
    r"(?P<kind>job-spec|build|measurement|samples|quality|policy|receipt|decision)-(?P<digest>[0-9a-f]{64})\.json\Z"
)


@dataclass(frozen=True)
class VerifiedDecision:
    """One decision that was made again from its evidence, byte for byte.

    ``file`` names it, ``digest`` is its envelope's; ``artifact``, ``baseline``, ``source`` and ``dataset``
    are digests of what was decided on; ``signed_by`` and ``measured_by`` are fingerprints of the control
    plane's and the runner's key, which was allowed at ``received_at``, when the measurement came in (None:
    a decision from before there were receipts). ``withdrawn`` says why it counts no more.
    """

    file: str
    digest: str
    job_id: str
    decision: Decision
    reason: str
    policy: str
    policy_digest: str
    artifact: str
    baseline: str
    source: str
    dataset: str | None
    signed_by: str
    measured_by: str
    received_at: str | None
    withdrawn: str | None = None


@dataclass(frozen=True)
class Verified:
    """The decisions by file name. Not ``anchored``: consistent, but any key might have made them."""

    decisions: tuple[VerifiedDecision, ...]
    anchored: bool


class _Folder(NamedTuple):
    """Files whose names are right: decisions by file name, all else by (kind, digest)."""

    decisions: dict[str, bytes]
    documents: dict[tuple[str, str], bytes]


def evidence_name(kind: str, digest: str) -> str:
    """The name of a document in an evidence folder."""
    return f"{kind}-{digest}.json"


def verify(
    files: Mapping[str, bytes], trust: PublicKey | None, revoked: Iterable[RevokedKey] = ()
) -> Verified:
    """Check a whole folder, given as file name → bytes, against the control plane's key.

    A decision that rests on what a ``revoked`` key signed and the control plane received since then is
    ``withdrawn``, and otherwise as good as it was.

    Without ``trust`` the key is the one that the job specs name, and the result is not ``anchored``.
    Raises ``Refused`` for the first thing that does not hold, in this order: ``evidence_misnamed``;
    for each decision ``evidence_missing``, ``envelope_invalid``, ``key_unknown``, ``signature_invalid``,
    ``statement_invalid``, ``not_canonical``, ``chain_broken``, ``decision_differs``; ``evidence_unlisted``.
    """
    folder = _sort_out(files)
    decisions: list[VerifiedDecision] = []
    listed: set[tuple[str, str]] = set()
    for name, data in sorted(folder.decisions.items()):
        try:
            decision, evidence = _verify_one(name, data, folder, trust, revoked)
        except Refused as error:
            raise Refused(error.code, f"{name}: {error.detail}") from error
        if any(decision.job_id == other.job_id for other in decisions):
            raise Refused("chain_broken", f"{name}: job {decision.job_id} has two decisions")
        listed.update((one.kind, one.digest) for one in evidence)
        decisions.append(decision)
    for kind, digest in sorted(folder.documents):
        if (kind, digest) not in listed:
            raise Refused("evidence_unlisted", f"{evidence_name(kind, digest)} is listed by no decision")
    return Verified(decisions=tuple(decisions), anchored=trust is not None)


def _sort_out(files: Mapping[str, bytes]) -> _Folder:
    folder = _Folder({}, {})
    for name, data in sorted(files.items()):
        match = _NAME.match(name)
        if match is None:
            raise Refused("evidence_misnamed", f"{name} is not named <kind>-<sha256>.json")
        if sha256_hex(data) != match["digest"]:
            raise Refused("evidence_misnamed", f"the bytes of {name} have another digest than its name")
        if match["kind"] == "decision":
            folder.decisions[name] = data
        else:
            folder.documents[match["kind"], match["digest"]] = data
    if not folder.decisions:
        raise Refused("evidence_missing", "there is no decision among the files")
    return folder


def _verify_one(
    name: str, data: bytes, folder: _Folder, trust: PublicKey | None, revoked: Iterable[RevokedKey]
) -> tuple[VerifiedDecision, tuple[EvidenceRef, ...]]:
    key = trust or _claimed_key(data, folder)
    statement = open_statement(data, key, DecisionEnvelopeStatement, what="decision")
    evidence = statement.predicate.evidence
    documents = {one.digest: _document(one, folder) for one in evidence}
    dossier = assemble(documents, evidence, key)
    again = judge(dossier, with_guard=statement.predicate.guard_analysis is not None)
    if canonical(again) != canonical(statement):
        raise Refused("decision_differs", f"recomputing gives another {_difference(statement, again)}")
    decided, measured = statement.predicate.deployment_decision, dossier.measurement.predicate
    verified = VerifiedDecision(
        file=name,
        digest=sha256_hex(data),
        job_id=dossier.job_id,
        decision=decided.decision,
        reason=decided.reason,
        policy=decided.policy_version,
        policy_digest=decided.policy_digest,
        artifact=measured.config.candidate.artifact,
        baseline=measured.config.baseline.artifact,
        source=measured.config.candidate.source,
        dataset=measured.config.dataset,
        signed_by=key.fingerprint,
        measured_by=PublicKey.from_base64(measured.binding.runner_key).fingerprint,
        received_at=dossier.received_at,
        withdrawn=_withdrawn(dossier, documents, evidence, revoked),
    )
    return verified, evidence


def _withdrawn(
    dossier: Dossier,
    documents: Mapping[str, bytes],
    evidence: Sequence[EvidenceRef],
    revoked: Iterable[RevokedKey],
) -> str | None:
    specs = (dossier.baseline_spec, dossier.candidate_spec, dossier.runtime_spec)
    receipts = [
        decode_canonical(documents[one.digest], Receipt, what="receipt")
        for one in evidence
        if one.kind == "receipt"
    ]
    keys = {spec.predicate.runner_key for spec in specs if spec is not None}
    return rests_on_revoked(keys, receipts, revoked)


def _document(reference: EvidenceRef, folder: _Folder) -> bytes:
    data = folder.documents.get((reference.kind, reference.digest))
    if data is None:
        raise Refused(
            "evidence_missing", f"{evidence_name(reference.kind, reference.digest)} is listed but not there"
        )
    return data


def _claimed_key(data: bytes, folder: _Folder) -> PublicKey:
    """The control plane's key according to the set itself: nothing here has been checked yet."""
    _, payload = peek_payload(data)
    try:
        statement = decode_canonical(payload, DecisionEnvelopeStatement, what="decision")
        spec = next((one for one in statement.predicate.evidence if one.kind == "job-spec"), None)
        if spec is None:
            raise Refused("chain_broken", "the decision lists no job spec")
        _, told = peek_payload(_document(spec, folder))
        named = decode_canonical(told, JobSpecStatement, what=f"job spec {spec.digest}")
    except Refused as error:
        if error.code == "not_canonical":
            raise Refused("statement_invalid", error.detail) from error
        raise
    return PublicKey.from_base64(named.predicate.control_plane_key)


def _difference(signed: DecisionEnvelopeStatement, again: DecisionEnvelopeStatement) -> str:
    """The first field that differs, for people: a name, and both values where they are short."""
    told, made = signed.predicate, again.predicate
    for field in ("decision", "policy_digest", "triggered_rules", "reason"):
        one, other = getattr(told.deployment_decision, field), getattr(made.deployment_decision, field)
        if one != other:
            return f"{field}: {other!r} instead of {one!r}"
    for name in told.__struct_fields__:
        if getattr(told, name) != getattr(made, name):
            return name
    return "subject" if signed.subject != again.subject else "encoding"
