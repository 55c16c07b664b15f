"""The worker boundary of external jobs: what a worker is asked, and what its answer does (seed 000).

Reading a worker request changes nothing. An answer takes its job to its end in one transaction, once: any
later one, the same or not, finds the job ended.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from edgeproof.contract.errors import Refused
from edgeproof.contract.worker import WorkerReceipt, WorkerRequest, WorkerResponse
from edgeproof.domain.jobs import TERMINAL
from edgeproof.lab.worker_bundle import Sender
from edgeproof.lab.worker_request import worker_request
from edgeproof.lab.worker_response import Completed, Failed, applied, read_response
from edgeproof.server.artifacts.artifacts import keep_bytes, keeping_transaction, refer_to_artifact
from edgeproof.server.db.database import Connection
from edgeproof.server.db.rows import Row
from edgeproof.server.jobs.job_endings import end_job
from edgeproof.server.jobs.job_facts import policy_of
from edgeproof.server.jobs.job_starts import start_job, told_job
from edgeproof.server.plane.audit_log import record
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.events import append_event, demand_visible
from edgeproof.server.plane.principals import require
from edgeproof.server.results.measured_results import keep_answered

RESPONSE_ROLE: Final = "worker-response"

_JOB: Final = "SELECT job_id, status, created_at, updated_at, input_summary FROM jobs WHERE job_id = $1"
_LOCK_JOB: Final = """
SELECT job_id, status, created_at, updated_at, input_summary, policy_digest, cancel_requested_at
FROM jobs WHERE job_id = $1 FOR UPDATE
"""
_MAY_ANSWER: Final = """
SELECT 1 FROM jobs WHERE job_id = $1 AND input_summary #>> '{options,adapter}' = 'external'
    AND coalesce(input_summary #>> '{options,worker}', $2) = $2
"""
# Held until commit: a token that is revoked while its answer is on the way changes nothing.
_STILL_GOOD: Final = "SELECT 1 FROM principals WHERE principal_id = $1 AND revoked_at IS NULL FOR SHARE"


async def read_worker_request(plane: ControlPlane, principal: Principal, job_id: str) -> WorkerRequest:
    """For the job's owner and admins; for an external worker only of a job that it may answer.

    Raises ``Refused``: ``not_found``; ``conflict`` for a job that is not queued any more; ``invalid_request``
    for one that is no analysis.
    """
    require(principal, "user", "admin", "external")
    if principal.kind == "external":
        await _demand_answerable(plane, principal, job_id)
    else:
        await demand_visible(plane, principal, job_id)
    (job,) = await plane.database.pool.fetch(_JOB, job_id)
    return msgspec.convert(worker_request(told_job(job)), WorkerRequest)


async def respond(plane: ControlPlane, principal: Principal, job_id: str, body: bytes) -> WorkerReceipt:
    """Take a worker's terminal answer: queued → running → completed or failed.

    A result that breaks its schema ends the job as failed, and the receipt says so.

    Raises:
        Refused: ``forbidden`` for anyone but an external worker; ``not_found`` for a job that is not its to
            answer; ``decision_not_yours``; ``invalid_json``, ``invalid_request``; ``job_terminal`` for a job
            that has ended; ``conflict`` for one that is being cancelled. Nothing is changed then.
    """
    require(principal, "external")
    await _demand_answerable(plane, principal, job_id)
    response = await asyncio.to_thread(_read, body, job_id)
    async with keeping_transaction(plane, len(body)) as connection:
        job = await _lock(connection, principal, job_id)
        policy = await policy_of(plane, connection, job["policy_digest"])
        digest = await keep_bytes(plane, connection, body)
        sender = Sender(
            worker=principal.principal_id,
            response_digest=digest,
            policy_version=f"{policy.name}-v{policy.version}",
            policy_digest=job["policy_digest"],
        )
        outcome = applied(response, sender)
        await refer_to_artifact(connection, job_id, digest, RESPONSE_ROLE)
        ended = "failed" if isinstance(outcome, Failed) else "completed"
        told = {"status": ended, "response": digest}
        await record(connection, principal.principal_id, "job.answered", job_id, told)
        return await _end(connection, job, outcome, {"role": RESPONSE_ROLE, "digest": digest})


async def _end(
    connection: Connection, job: Row, outcome: Completed | Failed, artifact: dict[str, Any]
) -> WorkerReceipt:
    if job["status"] == "queued":
        await start_job(connection, job)
    await append_event(connection, job["job_id"], "artifact", artifact)
    running = {"job_id": job["job_id"], "status": "running"}
    if isinstance(outcome, Failed):
        await end_job(connection, running, "failed", error=outcome.error, reported_at=outcome.updated_at)
        return WorkerReceipt(
            job_id=job["job_id"], status="failed", updated_at=outcome.updated_at, error=outcome.error
        )
    await keep_answered(connection, job["job_id"], outcome.result)
    await end_job(connection, running, "completed", result=outcome.result, reported_at=outcome.updated_at)
    return WorkerReceipt(
        job_id=job["job_id"],
        status="completed",
        updated_at=outcome.updated_at,
        decision=outcome.result["deployment_decision"]["decision"],
    )


async def _lock(connection: Connection, principal: Principal, job_id: str) -> Row:
    if await connection.fetchval(_STILL_GOOD, principal.principal_id) is None:
        raise Refused("unauthenticated")
    (job,) = await connection.fetch(_LOCK_JOB, job_id)
    if job["status"] in TERMINAL:
        raise Refused("job_terminal", f"the job is {job['status']}")
    if job["cancel_requested_at"] is not None:
        raise Refused("conflict", "the job is being cancelled")
    row: Row = job
    return row


async def _demand_answerable(plane: ControlPlane, principal: Principal, job_id: str) -> None:
    if await plane.database.pool.fetchval(_MAY_ANSWER, job_id, principal.principal_id) is None:
        raise Refused("not_found", "no such job")


def _read(body: bytes, job_id: str) -> WorkerResponse:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("invalid_json", str(error)) from error
    return read_response(value, job_id)
