"""A runner asks for work: the oldest run that it can do, under a new lease, with its signed job spec.

What a runner can do was matched to classes when its capabilities changed; nothing is matched here. A wake-up
only shortens the wait: the queue is asked again after a bound anyway.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobError
from edgeproof.contract.runners import Capabilities, ClaimedRun, ClaimRequest
from edgeproof.contract.statements import RunLimits, StageConfig
from edgeproof.domain.jobs import move
from edgeproof.domain.runs import Lease, new_lease
from edgeproof.lab.worker_request import worker_request
from edgeproof.server import queue_sql
from edgeproof.server.artifacts import keep_bytes, refer_to_artifact
from edgeproof.server.control_plane import ControlPlane, Principal
from edgeproof.server.database import Connection
from edgeproof.server.events import append_event
from edgeproof.server.job_specs import seal_job_spec
from edgeproof.server.principals import require
from edgeproof.server.requirements import match_runner_classes
from edgeproof.server.rows import Row
from edgeproof.server.run_endings import lease_ended, leave_queue, tell_run
from edgeproof.server.times import utc_text
from edgeproof.server.waiting import woken

_logger = logging.getLogger(__name__)
_POLL_SECONDS: Final = 5.0

_SEEN: Final = (
    "UPDATE runners SET last_seen_at = clock_timestamp() WHERE runner_id = $1 RETURNING capabilities"
)
_SET_CAPABILITIES: Final = "UPDATE runners SET capabilities = $2 WHERE runner_id = $1"
_LOCK_JOB: Final = """
SELECT job_id, status, created_at, updated_at, input_summary, policy_digest,
    cancel_requested_at IS NOT NULL AS cancelling
FROM jobs WHERE job_id = $1 FOR UPDATE
"""
_START_JOB: Final = """
UPDATE jobs SET status = $2, worker_request = $3, updated_at = clock_timestamp() WHERE job_id = $1
"""


async def claim(plane: ControlPlane, principal: Principal, request: ClaimRequest) -> ClaimedRun | None:
    """A lease, or None when none came within ``request.wait_seconds`` or the server stops.

    Raises ``Refused`` (``forbidden``), ``Unavailable`` (``disk_full``).
    """
    require(principal, "runner")
    await _note_presence(plane, principal, request)
    if request.holding is not None:
        while await _end_one_abandoned(plane, principal, request.holding):
            pass
    clock = asyncio.get_running_loop()
    deadline = clock.time() + request.wait_seconds
    async with plane.database.listen(queue_sql.RUNS_CHANNEL) as wake_ups:
        while not plane.stopping.is_set():
            claimed = await _claim_now(plane, principal)
            left = deadline - clock.time()
            if claimed is not None:
                plane.meters.claims.labels(claimed.stage).inc()
            if claimed is not None or left <= 0:
                return claimed
            await woken(plane, wake_ups, min(left, _POLL_SECONDS))
    return None


async def _note_presence(plane: ControlPlane, principal: Principal, request: ClaimRequest) -> None:
    async with plane.database.transaction() as connection:
        known = await connection.fetchval(_SEEN, principal.runner_id)
        told = request.capabilities
        if told is not None and (known is None or msgspec.convert(known, Capabilities) != told):
            await connection.execute(_SET_CAPABILITIES, principal.runner_id, told)
            await match_runner_classes(connection, _runner(principal), told)


async def _end_one_abandoned(plane: ControlPlane, principal: Principal, holding: Sequence[str]) -> bool:
    """One lease of this runner that it no longer works under; whether there was one."""
    async with plane.database.transaction() as connection:
        run = await connection.fetchrow(queue_sql.LOCK_ABANDONED, principal.runner_id, list(holding))
        if run is None:
            return False
        error = JobError(
            code="lease_expired",
            message=f"the runner {run['runner_id']} claimed anew without it,"
            f" attempt {run['attempt']} of {run['max_attempts']}",
            stage=run["stage"],
        )
        await lease_ended(connection, run, error, retryable=True, submission=None)
    return True


async def _claim_now(plane: ControlPlane, principal: Principal) -> ClaimedRun | None:
    heads = await plane.database.pool.fetch(queue_sql.HEADS, principal.runner_id)
    for head in heads:
        found = True
        while found:
            async with plane.database.transaction() as connection:
                run = await _lock_head(connection, principal, head)
                found = run is not None
                claimed = None if run is None else await _take(plane, connection, principal, run)
            if claimed is not None:
                return claimed
    return None


async def _lock_head(connection: Connection, principal: Principal, head: Row) -> Row | None:
    if head["named"]:
        return await connection.fetchrow(queue_sql.LOCK_NAMED_HEAD, head["class_id"], principal.runner_id)
    return await connection.fetchrow(queue_sql.LOCK_HEAD, head["class_id"])


async def _take(
    plane: ControlPlane, connection: Connection, principal: Principal, run: Any
) -> ClaimedRun | None:
    """The lease on a locked run; None when its job wants no more work, and the run is then cancelled, or
    when no job spec can be made of it, and it has then failed: at the head it would stop every claim."""
    (job,) = await connection.fetch(_LOCK_JOB, run["job_id"])
    if job["cancelling"] or job["status"] not in ("queued", "running"):
        await leave_queue(connection, run, "CANCELLED")
        return None
    run_id, settings = run["run_id"], plane.settings
    lease = new_lease(run["attempt"] + 1)
    (leased,) = await connection.fetch(
        queue_sql.LEASE, run_id, principal.runner_id, lease.digest, settings.lease_seconds
    )
    held = {**run, "attempt": leased["attempt"], "runner_id": principal.runner_id}
    try:
        envelope = await _job_spec(plane, connection, principal, job, run_id, lease, leased["claimed_at"])
    except (Refused, ValueError, msgspec.MsgspecError):
        _logger.exception("no job spec can be made of run %s", run_id)
        failure = JobError(code="internal_error", message="the run has no job spec", stage=run["stage"])
        await leave_queue(connection, held, "FAILED", failure=failure)
        return None
    if job["status"] == "queued":
        await _start(connection, job)
    await tell_run(connection, held, "CLAIMED")
    digest = await keep_bytes(plane, connection, envelope)
    await refer_to_artifact(connection, job["job_id"], digest, "job-spec")
    await connection.execute(queue_sql.SET_JOB_SPEC, run_id, digest)
    return ClaimedRun(
        run_id=run_id,
        job_id=job["job_id"],
        stage=run["stage"],
        attempt=lease.attempt,
        lease_token=lease.token,
        lease_expires_at=utc_text(leased["lease_expires_at"]),
        heartbeat_seconds=settings.heartbeat_seconds,
        job_spec=envelope.decode(),
    )


async def _job_spec(
    plane: ControlPlane,
    connection: Connection,
    principal: Principal,
    job: Any,
    run_id: str,
    lease: Lease,
    issued_at: Any,
) -> bytes:
    (row,) = await connection.fetch(queue_sql.RUN_FOR_SPEC, run_id)
    # `StageConfig` is a union: for `convert`'s type checker it is a value, not a type.
    config: StageConfig = msgspec.convert(row["config"], StageConfig)
    return seal_job_spec(
        plane.keys.signing,
        run_id=run_id,
        job_id=job["job_id"],
        attempt=lease.attempt,
        lease_digest=lease.digest,
        runner_key=principal.public_key or "",
        config=config,
        limits=msgspec.convert(row["limits"], RunLimits),
        policy_digest=job["policy_digest"],
        issued_at=issued_at,
        grace_seconds=plane.settings.lease_seconds,
    )


async def _start(connection: Connection, job: Any) -> None:
    """The job leaves ``queued``; its worker request is kept with it (DESIGN, "How data flows")."""
    told = {
        **job,
        "created_at": utc_text(job["created_at"]),
        "updated_at": utc_text(job["updated_at"]),
    }
    status = move(job["status"], "running")
    await connection.execute(_START_JOB, job["job_id"], status, worker_request(told))
    await append_event(connection, job["job_id"], "status", {"status": status})


def _runner(principal: Principal) -> str:
    if principal.runner_id is None:
        raise ValueError("a runner principal has a runner id")
    return principal.runner_id
