"""The last step of an analyze job: evidence in, a signed decision and the response bundle out.

The judging runs in a thread and holds no row. One replica judges a job, once: who comes while it is at it
leaves, and who comes later finds the job ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgeproof.contract.canonical import canonical, decode_canonical, sha256_hex
from edgeproof.contract.envelope import SigningKey, peek_payload
from edgeproof.contract.errors import Refused, Unavailable
from edgeproof.contract.jobs import JobError
from edgeproof.contract.log_ids import about
from edgeproof.contract.receipts import Receipt
from edgeproof.contract.statements import (
    Binding,
    BuildStatement,
    EvidenceRef,
    Measurement,
    MeasurementStatement,
)
from edgeproof.domain.jobs import TERMINAL
from edgeproof.lab.bundle import response_bundle
from edgeproof.lab.dossier import assemble
from edgeproof.lab.judge import judge
from edgeproof.lab.worker_request import options_of
from edgeproof.server.artifacts.artifacts import keep_bytes, refer_to_artifact
from edgeproof.server.artifacts.documents import load_document
from edgeproof.server.db.database import Connection
from edgeproof.server.db.rows import Row
from edgeproof.server.db.times import utc_text
from edgeproof.server.jobs.job_endings import LOCK_JOB, end_job
from edgeproof.server.jobs.withdraw import withdraw_decision
from edgeproof.server.plane.audit_log import CONTROL_PLANE, record
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.server.plane.events import append_event
from edgeproof.server.results.measured_results import keep_measured
from edgeproof.server.runs.check_result import RAW_ROLES, holds_nul

_logger = logging.getLogger(__name__)
STAGE: Final = "lab_validation"
_MESSAGE_CHARACTERS: Final = 4000

_TRY_LOCK: Final = "SELECT pg_try_advisory_xact_lock(hashtextextended('decide:' || $1, 0))"
_WANTED: Final = """
SELECT FROM jobs WHERE job_id = $1 AND status IN ('queued', 'running') AND cancel_requested_at IS NULL
"""
_JOB: Final = "SELECT policy_digest, input_summary FROM jobs WHERE job_id = $1"
_RESULTS: Final = """
SELECT r.run_id, r.stage, o.evidence_digest, o.attempt, o.finished_at
FROM runs r JOIN run_outcomes o USING (run_id)
WHERE r.job_id = $1 AND o.state = 'COMPLETE'
"""


@dataclass(frozen=True, slots=True)
class Made:
    """A signed decision's bytes, the bundle that shows it, and the receipts that it names."""

    envelope: bytes
    bundle: dict[str, Any]
    receipts: tuple[bytes, ...]


async def decide(plane: ControlPlane, job_id: str) -> None:
    """Judge, sign, store, and complete the job; evidence that does not hold fails it (stage
    ``lab_validation``). Does nothing while another task or replica is at it, nor for a job that wants no
    decision any more. Raises ``Unavailable``."""
    async with plane.judging, plane.database.transaction() as connection:
        if not await connection.fetchval(_TRY_LOCK, job_id):
            return
        if not await connection.fetch(_WANTED, job_id):
            return
        made = await _make(plane, connection, job_id)
        (job,) = await connection.fetch(LOCK_JOB, job_id)
        if job["status"] in TERMINAL or job["cancel_requested_at"] is not None:
            return
        if isinstance(made, JobError):
            await end_job(connection, job, "failed", error=made)
            return
        # In one order, as every transaction that locks artifacts.
        for receipt in sorted(made.receipts, key=sha256_hex):
            received = await keep_bytes(plane, connection, receipt)
            await refer_to_artifact(connection, job_id, received, "receipt")
        digest = await keep_bytes(plane, connection, made.envelope)
        await refer_to_artifact(connection, job_id, digest, "decision")
        await append_event(connection, job_id, "artifact", {"role": "decision", "digest": digest})
        decided = made.bundle["deployment_decision"]["decision"]
        await record(
            connection, CONTROL_PLANE, "decision.signed", job_id, {"digest": digest, "decision": decided}
        )
        await end_job(connection, job, "completed", result=made.bundle)
        await keep_measured(connection, job_id, made.bundle)
        await withdraw_decision(connection, job_id)


async def _make(plane: ControlPlane, connection: Connection, job_id: str) -> Made | JobError:
    (job,) = await connection.fetch(_JOB, job_id)
    results = await connection.fetch(_RESULTS, job_id)
    documents = {
        row["evidence_digest"]: await load_document(plane, row["evidence_digest"], connection)
        for row in results
    }
    envelopes = {row["evidence_digest"]: row["stage"] for row in results}
    try:
        receipts = receipts_of(job_id, results, documents)
        evidence = evidence_of(envelopes, documents, job["policy_digest"], receipts)
        documents |= receipts
        with_guard = options_of(job["input_summary"]["options"]).with_guard
    except Refused as error:
        return _unfounded(error)
    for reference in evidence:
        if reference.digest not in documents:
            documents[reference.digest] = await load_document(plane, reference.digest, connection)
    try:
        return await asyncio.to_thread(_judge, documents, evidence, plane.keys.signing, with_guard, receipts)
    except Unavailable:
        raise
    except Refused as error:
        return _unfounded(error)
    except Exception:
        # Judging is a pure function: what failed now would fail for ever.
        with about(job_id=job_id):
            _logger.exception("the job could not be judged")
        return JobError(code="internal_error", message="the evidence could not be judged", stage=STAGE)


def _unfounded(error: Refused) -> JobError:
    """The detail may quote what the evidence says, of any length and with what the database cannot hold."""
    detail = error.detail.replace("\0", "\N{REPLACEMENT CHARACTER}")[:_MESSAGE_CHARACTERS]
    return JobError(code=error.code, message=detail, stage=STAGE)


def receipts_of(job_id: str, results: Sequence[Row], documents: Mapping[str, bytes]) -> dict[str, bytes]:
    """The receipts of accepted results, by digest: a pure function of what was stored with each.

    ``results`` have the columns ``run_id``, ``attempt``, ``evidence_digest`` and ``finished_at``.
    """
    made = [
        canonical(
            Receipt(
                schema_version="edgeproof-receipt-v1",
                job_id=job_id,
                run_id=row["run_id"],
                attempt=row["attempt"],
                envelope=row["evidence_digest"],
                runner_key=_binding(row["stage"], documents[row["evidence_digest"]]).runner_key,
                received_at=utc_text(row["finished_at"]),
            )
        )
        for row in results
    ]
    return {sha256_hex(data): data for data in made}


def evidence_of(
    envelopes: Mapping[str, str],
    documents: Mapping[str, bytes],
    policy_digest: str,
    receipts: Iterable[str],
) -> tuple[EvidenceRef, ...]:
    """All that a decision on these results rests on, sorted by kind and digest.

    ``envelopes`` maps the digest of each accepted result to its stage; ``receipts`` are digests. Job specs
    and raw data are those that the results name, so that attempts which came to nothing leave no trace here.
    """
    found = {EvidenceRef(kind="policy", digest=policy_digest)}
    found |= {EvidenceRef(kind="receipt", digest=digest) for digest in receipts}
    for digest, stage in envelopes.items():
        if stage == "forge":
            found.add(EvidenceRef(kind="build", digest=digest))
        else:
            measured = _measured(documents[digest])
            found.add(EvidenceRef(kind="measurement", digest=digest))
            found.add(EvidenceRef(kind="samples", digest=measured.raw_samples))
            found.add(EvidenceRef(kind="quality", digest=measured.raw_quality))
        spec = _binding(stage, documents[digest]).job_spec
        found.add(EvidenceRef(kind="job-spec", digest=spec))
    return tuple(sorted(found, key=lambda one: (one.kind, one.digest)))


def _binding(stage: str, envelope: bytes) -> Binding:
    if stage != "forge":
        return _measured(envelope).binding
    _, payload = peek_payload(envelope)
    build = decode_canonical(payload, BuildStatement, what="build").predicate
    return build.buildDefinition.internalParameters.binding


def _measured(envelope: bytes) -> Measurement:
    _, payload = peek_payload(envelope)
    return decode_canonical(payload, MeasurementStatement, what="measurement").predicate


def _judge(
    documents: Mapping[str, bytes],
    evidence: Sequence[EvidenceRef],
    key: SigningKey,
    with_guard: bool,
    receipts: Mapping[str, bytes],
) -> Made:
    for reference in evidence:
        # As in signed results, which are read when they come (``check_result``).
        if reference.kind in RAW_ROLES and holds_nul(documents[reference.digest]):
            raise Refused("result_invalid", f"raw {reference.kind}: a NUL character is not taken in text")
    dossier = assemble(documents, evidence, key.public)
    statement = judge(dossier, with_guard=with_guard)
    envelope = key.seal(canonical(statement))
    bundle = response_bundle(dossier, statement, sha256_hex(envelope))
    return Made(envelope, bundle, tuple(receipts.values()))
