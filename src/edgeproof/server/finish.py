"""A runner hands in what became of a run: a signed result, or a failure.

A result is verified before anything is stored, and the fence decides in the transaction that stores it. What
a decision demands beyond one result (raw data that fits, a chain without a gap) is ``decide``'s to check.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from edgeproof.contract.canonical import decode_canonical, sha256_hex
from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import CODES, Refused
from edgeproof.contract.jobs import JobError
from edgeproof.contract.policy import Policy
from edgeproof.contract.runners import FailRequest, FailResponse, SubmitResponse
from edgeproof.contract.statements import (
    BuildStatement,
    ForgeConfig,
    JobSpecStatement,
    MeasuredArtifact,
    open_statement,
)
from edgeproof.domain.runs import Lease
from edgeproof.lab.chain import check_build, check_measurement
from edgeproof.server import queue_sql
from edgeproof.server.advance import advance
from edgeproof.server.artifacts import keep_bytes, refer_to_artifact
from edgeproof.server.control_plane import ControlPlane, Principal
from edgeproof.server.documents import load_document
from edgeproof.server.events import append_event
from edgeproof.server.principals import require
from edgeproof.server.run_endings import lease_ended, leave_queue

_logger = logging.getLogger(__name__)
_UNKNOWN_CODE: Final = "stage_crashed"
RAW_ROLES: Final = frozenset({"samples", "quality"})
MAX_RAW_BYTES: Final = 64 << 20
"""Judging reads raw data whole; at this size it takes some 400 MiB for some seconds."""
_HAVE: Final = """
SELECT digest, size FROM artifacts WHERE digest = ANY($3::text[]) AND (
    EXISTS (SELECT FROM uploads u WHERE u.principal_id = $1 AND u.digest = artifacts.digest)
    OR EXISTS (SELECT FROM job_artifacts j WHERE j.job_id = $2 AND j.digest = artifacts.digest)
)
"""


@dataclass(frozen=True, slots=True)
class Result:
    """A verified result: its role among the job's artifacts, and those that it names, by their role."""

    role: str
    outputs: dict[str, str]


async def submit(
    plane: ControlPlane, principal: Principal, run_id: str, lease: Lease, envelope: bytes
) -> SubmitResponse:
    """Store a signed result as the run's only outcome and advance its job.

    The same bytes again give the same answer. A lease that has expired but was not reaped is still good.

    Raises:
        Refused: ``stale_lease``, ``different_outcome``, ``artifact_missing``, ``result_invalid``,
            ``not_canonical``, ``envelope_invalid``, ``key_unknown``, ``signature_invalid``,
            ``statement_invalid``. Nothing is stored then.
    """
    require(principal, "runner")
    digest = sha256_hex(envelope)
    fence = (run_id, lease.attempt, lease.digest, principal.runner_id)
    held = await plane.database.pool.fetchrow(queue_sql.LEASED_RUN, *fence)
    if held is None:
        return _submitted(run_id, await _outcome(plane, principal, run_id, lease, digest))
    result = await _verify(plane, held["job_spec_digest"], envelope)
    async with plane.database.transaction() as connection:
        run = await connection.fetchrow(queue_sql.LOCK_LEASED, *fence)
        if run is not None:
            outputs = sorted(set(result.outputs.values()))
            rows = await connection.fetch(_HAVE, principal.principal_id, run["job_id"], outputs)
            _check_outputs(result, {row["digest"]: row["size"] for row in rows})
            await leave_queue(connection, run, "COMPLETE", evidence=digest, submission=digest)
            await keep_bytes(plane, connection, envelope)
            for role, one in sorted([(result.role, digest), *result.outputs.items()], key=lambda it: it[1]):
                await refer_to_artifact(connection, run["job_id"], one, role)
                await append_event(
                    connection, run["job_id"], "artifact", {"run_id": run_id, "role": role, "digest": one}
                )
    if run is None:
        return _submitted(run_id, await _outcome(plane, principal, run_id, lease, digest))
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
                connection, run, error, retryable=request.retryable, submission=submission
            )
    if run is None:
        outcome = await _outcome(plane, principal, run_id, lease, submission)
        return FailResponse(run_id=run_id, state=outcome["state"])
    if state != "PENDING":
        await _advance_soon(plane, run["job_id"])
    return FailResponse(run_id=run_id, state=state)


async def _verify(plane: ControlPlane, spec_digest: str, envelope: bytes) -> Result:
    spec_envelope = await load_document(plane, spec_digest)
    spec = open_statement(spec_envelope, plane.keys.signing.public, JobSpecStatement, what="job spec")
    policy = await load_document(plane, spec.predicate.policy_digest)
    try:
        return await asyncio.to_thread(_check, envelope, spec_digest, spec, policy)
    except Refused as error:
        if error.code == "chain_broken":
            raise Refused("result_invalid", error.detail) from error
        raise


def _check(envelope: bytes, spec_digest: str, spec: JobSpecStatement, policy: bytes) -> Result:
    config = spec.predicate.config
    if isinstance(config, ForgeConfig):
        runner = PublicKey.from_base64(spec.predicate.runner_key)
        build = open_statement(envelope, runner, BuildStatement, what="build")
        if len(build.subject) != 1:
            raise Refused("result_invalid", "a build has one subject: the artifact it made")
        manifest = build.predicate.buildDefinition.internalParameters.manifest
        made = MeasuredArtifact(
            artifact=build.subject[0].digest.sha256,
            build=sha256_hex(envelope),
            source=config.source,
            precision=manifest.artifact.precision,
            model_name=config.source_name,
        )
        check_build(envelope, spec_digest, spec, made)
        return Result("build", {"output": made.artifact})
    parsed = decode_canonical(policy, Policy, what="policy")
    measured = check_measurement(envelope, spec_digest, spec, parsed).predicate
    return Result("measurement", {"samples": measured.raw_samples, "quality": measured.raw_quality})


def _check_outputs(result: Result, sizes: Mapping[str, int]) -> None:
    """``sizes``, in bytes, of those artifacts that the runner may name."""
    if missing := set(result.outputs.values()) - sizes.keys():
        raise Refused("artifact_missing", f"upload sha256:{min(missing)} first")
    for role, digest in result.outputs.items():
        if role in RAW_ROLES and sizes[digest] > MAX_RAW_BYTES:
            raise Refused("result_invalid", f"{sizes[digest]} bytes of {role}; {MAX_RAW_BYTES} are taken")


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
    told: dict[str, Any] = {"fault": request.fault}
    if not known:
        told["code"] = request.code
    return JobError(
        code=request.code if known else _UNKNOWN_CODE,
        message=request.message,
        stage=stage,
        evidence=(told, *request.evidence),
    )


async def _advance_soon(plane: ControlPlane, job_id: str) -> None:
    """Now if possible. The outcome is stored already: what fails here, the sweep repeats."""
    try:
        await advance(plane, job_id)
    except Exception:
        _logger.exception("job %s could not advance; the sweep will try again", job_id)
