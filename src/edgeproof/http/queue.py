"""The run queue as runners see it: claim, heartbeat, submit, fail."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Response, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, JSONBody

from edgeproof.contract.runners import (
    LEASE_HEADER,
    STANDING_HEADER,
    ClaimedRun,
    ClaimedRuns,
    ClaimRequest,
    FailRequest,
    FailResponse,
    HeartbeatAnswers,
    HeartbeatBatch,
    HeartbeatRequest,
    HeartbeatResponse,
    SubmitAnswers,
    SubmitBatch,
    SubmitResponse,
)
from edgeproof.domain.runs import parse_lease
from edgeproof.http.authentication import plane_of
from edgeproof.http.body_guard import BODY_KIND
from edgeproof.http.connections import until_gone
from edgeproof.http.description import BODY, TOKEN, EnvelopeBody, problems
from edgeproof.http.json_bodies import StrictRequest
from edgeproof.http.paths import RunIdPath, known_id
from edgeproof.server.queue.claim import claim_runs
from edgeproof.server.queue.fail import fail as fail_run
from edgeproof.server.queue.heartbeat import heartbeat as renew_lease
from edgeproof.server.queue.heartbeat import heartbeats as renew_leases
from edgeproof.server.queue.submit import submit as submit_run
from edgeproof.server.queue.submit import submit_batch as submit_runs

LeaseHeader = Annotated[
    str | None,
    HeaderParameter(name=LEASE_HEADER, description="`<attempt>.<lease token>` of the claim"),
]
_ONE_OR_MANY: Any = ClaimedRun | ClaimedRuns
LEASED = ResponseSpec(
    data_container=_ONE_OR_MANY,
    generate_examples=False,
    description="A lease on a run; with `max_runs`, leases on that many at most",
)
NO_WORK = ResponseSpec(
    data_container=None,
    description=f"No work within `wait_seconds`. The header `{STANDING_HEADER}` says if the runner gets none:"
    " `draining` or `quarantined`",
)


@post(
    "/api/queue/claim",
    status_code=200,
    operation_id="claimRun",
    summary="Claim a run, waiting for one if asked",
    tags=["queue"],
    responses={200: LEASED, 204: NO_WORK, **problems(*TOKEN, *BODY)},
)
async def claim(
    request: StrictRequest, data: JSONBody[ClaimRequest]
) -> Response[ClaimedRun | ClaimedRuns | None]:
    """For runners. The answer carries the signed job spec and the lease."""
    claimed = await until_gone(request, claim_runs(plane_of(request), request.user, data))
    if not claimed.runs:
        headers = {} if claimed.standing == "active" else {STANDING_HEADER: claimed.standing}
        return Response(None, status_code=204, headers=headers)
    found = claimed.runs[0] if data.max_runs is None else ClaimedRuns(runs=claimed.runs)
    return Response(found, status_code=200)


@post(
    "/api/queue/heartbeat",
    status_code=200,
    operation_id="heartbeatRuns",
    summary="Renew up to 64 leases",
    tags=["queue"],
    responses=problems(*TOKEN, *BODY),
)
async def heartbeats(request: StrictRequest, data: JSONBody[HeartbeatBatch]) -> HeartbeatAnswers:
    """Each item is fenced and answered by itself: with what its own route answers, or its problem."""
    return await renew_leases(plane_of(request), request.user, data)


@post(
    "/api/queue/submit",
    status_code=200,
    opt={BODY_KIND: "envelope"},
    operation_id="submitRuns",
    summary="Finish up to 64 runs with signed statements",
    tags=["queue"],
    responses=problems(*TOKEN, *BODY),
)
async def submits(request: StrictRequest, data: JSONBody[SubmitBatch]) -> SubmitAnswers:
    """Each item is fenced, verified and answered by itself, as its own route would, or with its problem."""
    return await submit_runs(plane_of(request), request.user, data)


@post(
    "/api/queue/{run_id:str}/heartbeat",
    status_code=200,
    operation_id="heartbeatRun",
    summary="Renew a lease and report progress",
    tags=["queue"],
    responses=problems(*TOKEN, *BODY, "stale_lease"),
)
async def heartbeat(
    request: StrictRequest, run_id: RunIdPath, data: JSONBody[HeartbeatRequest], lease: LeaseHeader = None
) -> HeartbeatResponse:
    """The answer says whether cancelling was requested; the runner then stops and fails the run."""
    return await renew_lease(plane_of(request), request.user, known_id(run_id), parse_lease(lease), data)


@post(
    "/api/queue/{run_id:str}/submit",
    status_code=200,
    opt={BODY_KIND: "envelope"},
    operation_id="submitRun",
    operation_class=EnvelopeBody,
    summary="Finish a run with a signed statement",
    tags=["queue"],
    responses=problems(
        *TOKEN, *BODY, "stale_lease", "different_outcome", "not_canonical", "envelope_invalid",
        "statement_invalid", "signature_invalid", "key_unknown", "keyless_not_supported",
        "artifact_missing", "result_invalid",
    ),
)  # fmt: skip
async def submit(request: StrictRequest, run_id: RunIdPath, lease: LeaseHeader = None) -> SubmitResponse:
    """The body is the envelope's bytes as signed, or a key-based Sigstore bundle around it. The same
    submission again gives the same answer. The job's owner may deliver what the lease's runner signed."""
    return await submit_run(
        plane_of(request), request.user, known_id(run_id), parse_lease(lease), await request.body()
    )


@post(
    "/api/queue/{run_id:str}/fail",
    status_code=200,
    operation_id="failRun",
    summary="Finish an attempt without a result",
    tags=["queue"],
    responses=problems(*TOKEN, *BODY, "stale_lease", "different_outcome"),
)
async def fail(
    request: StrictRequest, run_id: RunIdPath, data: JSONBody[FailRequest], lease: LeaseHeader = None
) -> FailResponse:
    """A retryable failure returns the run to the queue while attempts are left."""
    return await fail_run(plane_of(request), request.user, known_id(run_id), parse_lease(lease), data)
