"""Which documents a job's decision rests on: exactly those that the decision names, and itself."""

from __future__ import annotations

from typing import Final

from edgeproof.contract.canonical import decode_canonical
from edgeproof.contract.envelope import peek_payload
from edgeproof.contract.jobs import EvidenceItem, EvidenceList
from edgeproof.contract.statements import DecisionEnvelopeStatement
from edgeproof.server.artifacts.documents import load_document
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.events import demand_visible

_DECISION: Final = "SELECT digest FROM job_artifacts WHERE job_id = $1 AND role = 'decision'"


async def list_evidence(plane: ControlPlane, principal: Principal, job_id: str) -> EvidenceList:
    """Empty until the job is completed. Raises ``Refused`` (``not_found``)."""
    await demand_visible(plane, principal, job_id)
    digest = await plane.database.pool.fetchval(_DECISION, job_id)
    if digest is None:
        return EvidenceList(job_id=job_id, items=())
    _, payload = peek_payload(await load_document(plane, digest))
    decision = decode_canonical(payload, DecisionEnvelopeStatement, what="decision").predicate
    items = [EvidenceItem(kind=one.kind, digest=one.digest) for one in decision.evidence]
    return EvidenceList(job_id=job_id, items=(EvidenceItem(kind="decision", digest=digest), *items))
