"""Operators' routes: a runner's standing, the queue's state, its dead letters."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.params import JSONBody, PathParameter, QueryParameter

from edgeproof.contract.jobs import JobView
from edgeproof.contract.queue import DeadLetterPage, QueueStats
from edgeproof.contract.runners import RunnerStanding, StandingRequest, StandingView
from edgeproof.http.authentication import plane_of
from edgeproof.http.description import BODY, TOKEN, problems
from edgeproof.http.jobs import CursorQuery
from edgeproof.http.json_bodies import StrictRequest
from edgeproof.http.paths import JobIdPath, known_id
from edgeproof.server.fleet.standing import set_standing
from edgeproof.server.jobs.dead_letters import dead_letters
from edgeproof.server.jobs.dead_letters import requeue as do_again
from edgeproof.server.runs.queue_stats import queue_stats

RunnerIdPath = Annotated[str, PathParameter(description="A runner's id")]


@post(
    "/api/runners/{runner_id:str}/drain",
    status_code=200,
    operation_id="drainRunner",
    summary="Give a runner nothing new; it finishes what it holds",
    tags=["runners"],
    responses=problems(*TOKEN, *BODY, "not_found"),
)
async def drain(
    request: StrictRequest, runner_id: RunnerIdPath, data: JSONBody[StandingRequest]
) -> StandingView:
    """For admins. Repeating it is harmless."""
    return await _stand(request, runner_id, "draining", data)


@post(
    "/api/runners/{runner_id:str}/quarantine",
    status_code=200,
    operation_id="quarantineRunner",
    summary="Give a runner nothing new, for it is not to be trusted with work",
    tags=["runners"],
    responses=problems(*TOKEN, *BODY, "not_found"),
)
async def quarantine(
    request: StrictRequest, runner_id: RunnerIdPath, data: JSONBody[StandingRequest]
) -> StandingView:
    """For admins. The control plane does so itself after too many runs in a row that its trouble ended."""
    return await _stand(request, runner_id, "quarantined", data)


@post(
    "/api/runners/{runner_id:str}/release",
    status_code=200,
    operation_id="releaseRunner",
    summary="Let a drained or quarantined runner work again",
    tags=["runners"],
    responses=problems(*TOKEN, *BODY, "not_found"),
)
async def release(
    request: StrictRequest, runner_id: RunnerIdPath, data: JSONBody[StandingRequest]
) -> StandingView:
    """For admins. Its count of runs that its own trouble ended begins anew."""
    return await _stand(request, runner_id, "active", data)


@get(
    "/api/queue/stats",
    operation_id="queueStats",
    summary="How the run queue stands",
    tags=["operators"],
    responses=problems(*TOKEN),
)
async def stats(request: StrictRequest) -> QueueStats:
    """For admins."""
    return await queue_stats(plane_of(request), request.user)


@get(
    "/api/queue/dead",
    operation_id="listDeadLetters",
    summary="Runs that failed for want of attempts",
    tags=["operators"],
    responses=problems(*TOKEN),
)
async def dead(
    request: StrictRequest,
    cursor: CursorQuery = None,
    limit: Annotated[int, QueryParameter(ge=1, le=500, description="Runs a page")] = 100,
) -> DeadLetterPage:
    """For admins, newest first."""
    return await dead_letters(plane_of(request), request.user, cursor=cursor, limit=limit)


@post(
    "/api/jobs/{job_id:str}/requeue",
    status_code=200,
    operation_id="requeueJob",
    summary="Do a failed job's work again, as a new job",
    tags=["operators"],
    responses=problems(
        *TOKEN, "not_found", "conflict", "artifact_missing", "unknown_runner", "unknown_worker"
    ),
)
async def requeue(request: StrictRequest, job_id: JobIdPath) -> JobView:
    """For its owner and admins. The new job's `retry_of` names the old one; asked for again, the answer is
    the same new job."""
    return await do_again(plane_of(request), request.user, known_id(job_id))


async def _stand(
    request: StrictRequest, runner_id: str, standing: RunnerStanding, data: StandingRequest
) -> StandingView:
    return await set_standing(plane_of(request), request.user, known_id(runner_id), standing, data.reason)
