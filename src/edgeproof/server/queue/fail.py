"""A runner ends a run without a result: whose fault it was, and whether another attempt may help."""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.errors import CODES
from edgeproof.contract.faults import RUNNERS_TROUBLE
from edgeproof.contract.jobs import JobError
from edgeproof.contract.log_ids import about
from edgeproof.contract.runners import FailRequest, FailResponse
from edgeproof.domain.runs import Lease
from edgeproof.server.jobs.advance import advance_soon
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import require
from edgeproof.server.runs import queue_sql
from edgeproof.server.runs.outcomes import repeated_outcome
from edgeproof.server.runs.run_endings import AboutRunner, lease_ended

_logger = logging.getLogger(__name__)
_UNKNOWN_CODE: Final = "stage_crashed"
NO_STRIKES: Final = frozenset({"handed_back", "cancelled", "disk_full", "artifact_lost"})
"""Ways to end a run that say nothing against the runner. A disk is also too small for what is too large; one
that has no room at all a runner finds itself before it claims (``RunnerHome.unfit``). What the store has lost
no runner finds."""


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
                about_runner=_about_runner(request),
                nobodys_doing=error.code == "handed_back",
            )
    if run is None:
        outcome = await repeated_outcome(plane, principal, run_id, lease, submission)
        return FailResponse(run_id=run_id, state=outcome["state"])
    plane.meters.failures.labels(run["stage"], request.fault, error.code).inc()
    with about(job_id=run["job_id"], run_id=run_id, runner_id=principal.runner_id):
        _logger.info("lease ended by its runner: %s, %s's fault, now %s", error.code, request.fault, state)
    if state != "PENDING":
        await advance_soon(plane, run["job_id"])
    return FailResponse(run_id=run_id, state=state)


def _about_runner(request: FailRequest) -> AboutRunner:
    if request.fault not in RUNNERS_TROUBLE:
        return "sound"
    return "nothing" if request.code in NO_STRIKES else "strike"


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
