"""A runner hands in what became of a run: a signed result, or a failure.

A result is verified before anything is stored (``check_result``), and the fence decides in the transaction
that stores outcome, artifacts and metric rows. Whoever holds a lease's token may deliver what its runner
signed: the signature says whose result it is.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import CODES, Refused
from edgeproof.contract.jobs import JobError
from edgeproof.contract.log_ids import about
from edgeproof.contract.runners import FailRequest, FailResponse, SubmitResponse
from edgeproof.contract.sigstore_bundle import envelope_in, is_bundle
from edgeproof.domain.runs import Lease
from edgeproof.server import queue_sql
from edgeproof.server.advance import advance
from edgeproof.server.artifacts import keep_bytes, refer_to_artifact
from edgeproof.server.check_result import check_outputs, check_result
from edgeproof.server.control_plane import ControlPlane, Principal
from edgeproof.server.events import append_event
from edgeproof.server.principals import require
from edgeproof.server.run_endings import lease_ended, leave_queue
from edgeproof.server.run_metrics import store_metrics

_logger = logging.getLogger(__name__)
_UNKNOWN_CODE: Final = "stage_crashed"
_HOLDER: Final = """
SELECT held.runner_id, coalesce(held.runner_key, runners.public_key) AS public_key
FROM (
    SELECT run_id, runner_id, runner_key, attempt, lease_digest FROM run_queue WHERE run_id = $1
    UNION ALL
    SELECT run_id, runner_id, runner_key, attempt, lease_digest FROM run_outcomes WHERE run_id = $1
) held
JOIN runs USING (run_id) JOIN jobs USING (job_id) JOIN runners USING (runner_id)
WHERE attempt = $2 AND lease_digest = $3 AND (owner_id = $4 OR $5)
"""
NO_STRIKES: Final = frozenset({"handed_back", "cancelled"})
"""Ways to end a run that say nothing against the runner."""
_HAVE: Final = """
SELECT EXISTS (SELECT FROM good_keys WHERE public_key = $4) AS allowed,
    coalesce(jsonb_object_agg(digest, size), '{}') AS sizes
FROM artifacts WHERE digest = ANY($3::text[]) AND (
    EXISTS (SELECT FROM uploads u WHERE u.principal_id = $1 AND u.digest = artifacts.digest)
    OR EXISTS (SELECT FROM job_artifacts j WHERE j.job_id = $2 AND j.digest = artifacts.digest)
)
"""


async def submit(
    plane: ControlPlane, principal: Principal, run_id: str, lease: Lease, envelope: bytes
) -> SubmitResponse:
    """Store a signed result as the run's only outcome and advance its job.

    ``envelope`` is a DSSE envelope's canonical bytes, or a key-based Sigstore bundle around one: the same
    envelope again, in either form, gives the same answer. A lease that has expired but was not reaped is
    still good. The lease's runner delivers, or by hand the job's owner or an admin.

    Raises:
        Refused: ``stale_lease``, ``different_outcome``, ``artifact_missing``, ``result_invalid``,
            ``not_canonical``, ``envelope_invalid``, ``key_unknown``, ``key_not_allowed``,
            ``keyless_not_supported``, ``signature_invalid``, ``statement_invalid``. Nothing is stored then.
    """
    if principal.kind != "runner":
        principal = await _lease_holder(plane, principal, run_id, lease)
    if is_bundle(envelope):
        envelope = envelope_in(envelope, PublicKey.from_base64(principal.public_key or "").keyid)
    digest = sha256_hex(envelope)
    fence = (run_id, lease.attempt, lease.digest, principal.runner_id)
    held = await plane.database.pool.fetchrow(queue_sql.LEASED_RUN, *fence)
    if held is None:
        return _submitted(run_id, await _outcome(plane, principal, run_id, lease, digest))
    result = await check_result(plane, held["job_spec_digest"], envelope)
    async with plane.database.transaction() as connection:
        run = await connection.fetchrow(queue_sql.LOCK_LEASED, *fence)
        if run is not None:
            outputs = sorted(set(result.outputs.values()))
            (have,) = await connection.fetch(
                _HAVE, principal.principal_id, run["job_id"], outputs, result.runner_key
            )
            if not have["allowed"]:
                raise Refused("key_not_allowed")
            check_outputs(result, have["sizes"])
            await leave_queue(connection, run, "COMPLETE", evidence=digest, submission=digest)
            await store_metrics(connection, result.models, result.hardware)
            await keep_bytes(plane, connection, envelope)
            for role, one in sorted([(result.role, digest), *result.outputs.items()], key=lambda it: it[1]):
                await refer_to_artifact(connection, run["job_id"], one, role)
                await append_event(
                    connection, run["job_id"], "artifact", {"run_id": run_id, "role": role, "digest": one}
                )
    if run is None:
        return _submitted(run_id, await _outcome(plane, principal, run_id, lease, digest))
    plane.meters.submissions.labels(held["stage"]).inc()
    with about(job_id=held["job_id"]):
        _logger.info("run %s: result taken, evidence sha256:%s", run_id, digest)
    await _advance_soon(plane, held["job_id"])
    return SubmitResponse(run_id=run_id, state="COMPLETE", evidence_digest=digest)


async def fail(
    plane: ControlPlane, principal: Principal, run_id: str, lease: Lease, request: FailRequest
) -> FailResponse:
    """End the lease without a result: another attempt if that may help, else the run has failed.

    Repeating the request that ended the run gives the same answer. Raises ``Refused`` (``stale_lease``,
    ``different_outcome``).
    """
    require(principal, "runner")
    submission = sha256_hex(b"fail\0" + msgspec.json.encode(request, order="sorted"))
    async with plane.database.transaction() as connection:
        run = await connection.fetchrow(
            queue_sql.LOCK_LEASED, run_id, lease.attempt, lease.digest, principal.runner_id
        )
        if run is not None:
            error = _job_error(request, run["stage"])
            state = await lease_ended(
                plane,
                connection,
                run,
                error,
                retryable=request.retryable,
                submission=submission,
                strike=request.fault == "infrastructure" and request.code not in NO_STRIKES,
            )
    if run is None:
        outcome = await _outcome(plane, principal, run_id, lease, submission)
        return FailResponse(run_id=run_id, state=outcome["state"])
    plane.meters.failures.labels(run["stage"], request.fault, error.code).inc()
    with about(job_id=run["job_id"]):
        _logger.info("run %s: %s, %s's fault, now %s", run_id, error.code, request.fault, state)
    if state != "PENDING":
        await _advance_soon(plane, run["job_id"])
    return FailResponse(run_id=run_id, state=state)


async def _lease_holder(plane: ControlPlane, principal: Principal, run_id: str, lease: Lease) -> Principal:
    """The runner whose lease token ``principal`` brings; only for the job's owner and for admins."""
    require(principal, "user", "admin")
    row = await plane.database.pool.fetchrow(
        _HOLDER, run_id, lease.attempt, lease.digest, principal.principal_id, principal.kind == "admin"
    )
    if row is None:
        raise Refused("stale_lease", f"run {run_id}, attempt {lease.attempt}")
    return Principal(row["runner_id"], "runner", row["runner_id"], row["public_key"])


async def _outcome(
    plane: ControlPlane, principal: Principal, run_id: str, lease: Lease, submission: str
) -> Any:
    """The stored outcome that this very submission made. Raises ``stale_lease``, ``different_outcome``."""
    row = await plane.database.pool.fetchrow(queue_sql.OUTCOME, run_id)
    mine = (lease.attempt, lease.digest, principal.runner_id)
    if row is None or (row["attempt"], row["lease_digest"], row["runner_id"]) != mine:
        raise Refused("stale_lease", f"run {run_id}, attempt {lease.attempt}")
    if row["submission_digest"] is None:
        raise Refused("stale_lease", f"run {run_id} has ended without a word of its runner")
    if row["submission_digest"] != submission:
        raise Refused("different_outcome", f"run {run_id} is {row['state']}")
    return row


def _submitted(run_id: str, outcome: Any) -> SubmitResponse:
    return SubmitResponse(run_id=run_id, state=outcome["state"], evidence_digest=outcome["evidence_digest"])


def _job_error(request: FailRequest, stage: str) -> JobError:
    known = request.code in CODES
    return JobError(
        code=request.code if known else _UNKNOWN_CODE,
        message=request.message,
        stage=stage,
        evidence=request.evidence if known else ({"code": request.code}, *request.evidence),
        fault=request.fault,
        retryable=request.retryable,
    )


async def _advance_soon(plane: ControlPlane, job_id: str) -> None:
    """Now if possible. The outcome is stored already: what fails here, the sweep repeats."""
    try:
        await advance(plane, job_id)
    except Exception:
        _logger.exception("job %s could not advance; the sweep will try again", job_id)
