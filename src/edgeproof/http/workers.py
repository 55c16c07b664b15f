"""The worker boundary (seed 000): worker requests, worker responses, and the tokens of external workers."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.params import JSONBody, PathParameter

from edgeproof.contract.worker import (
    WorkerCompleted,
    WorkerFailed,
    WorkerList,
    WorkerReceipt,
    WorkerRequest,
    WorkerToken,
    WorkerTokenRequest,
    WorkerView,
)
from edgeproof.http.authentication import plane_of
from edgeproof.http.description import BODY, TOKEN, problems
from edgeproof.http.json_bodies import StrictRequest
from edgeproof.http.paths import JobIdPath, known_id
from edgeproof.server.fleet.external_workers import create_worker as make_worker
from edgeproof.server.fleet.external_workers import list_workers as known_workers
from edgeproof.server.fleet.external_workers import revoke_worker as end_worker
from edgeproof.server.jobs.worker_boundary import read_worker_request, respond

WorkerIdPath = Annotated[str, PathParameter(description="An external worker's id")]


@get(
    "/api/jobs/{job_id:str}/worker-request",
    operation_id="getWorkerRequest",
    summary="What a queued analyze job asks of a worker",
    tags=["workers"],
    responses=problems(*TOKEN, "not_found", "conflict"),
)
async def worker_request(request: StrictRequest, job_id: JobIdPath) -> WorkerRequest:
    """For the job's owner, admins, and an external worker that may answer it. Reading changes nothing."""
    return await read_worker_request(plane_of(request), request.user, known_id(job_id))


@post(
    "/api/jobs/{job_id:str}/worker-response",
    status_code=200,
    operation_id="postWorkerResponse",
    summary="End an external job with a worker's answer",
    tags=["workers"],
    responses=problems(*TOKEN, *BODY, "not_found", "job_terminal", "conflict", "decision_not_yours"),
)
async def worker_response(
    request: StrictRequest, job_id: JobIdPath, data: JSONBody[WorkerCompleted | WorkerFailed]
) -> WorkerReceipt:
    """For external workers. One answer counts; a second one is refused, the same or not.

    `runtime_result` is checked as `WorkerRuntimeResult`: one that breaks it ends the job as failed in
    `lab_validation`, and the answer here says so.
    """
    # The bytes as they came are what is kept and digested; ``data`` is their form, checked once more there.
    return await respond(plane_of(request), request.user, known_id(job_id), await request.body())


@post(
    "/api/workers",
    status_code=201,
    operation_id="createWorker",
    summary="Make a token for a Forge or Runtime that is not ours",
    tags=["workers"],
    responses=problems(*TOKEN, *BODY),
)
async def create_worker(request: StrictRequest, data: JSONBody[WorkerTokenRequest]) -> WorkerToken:
    """For admins. The token is shown this once."""
    return await make_worker(plane_of(request), request.user, data.name)


@get(
    "/api/workers",
    operation_id="listWorkers",
    summary="List the external workers",
    tags=["workers"],
    responses=problems(*TOKEN),
)
async def list_workers(request: StrictRequest) -> WorkerList:
    """For users and admins; revoked ones too."""
    return WorkerList(workers=await known_workers(plane_of(request), request.user))


@post(
    "/api/workers/{worker_id:str}/revoke",
    status_code=200,
    operation_id="revokeWorker",
    summary="Revoke an external worker's token",
    tags=["workers"],
    responses=problems(*TOKEN, "not_found"),
)
async def revoke_worker(request: StrictRequest, worker_id: WorkerIdPath) -> WorkerView:
    """For admins. Its next call is refused; repeating this changes nothing."""
    return await end_worker(plane_of(request), request.user, known_id(worker_id))
