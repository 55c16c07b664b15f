"""Jobs as users see them: ask, list, look, cancel, follow, and what a decision rests on."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import MediaType, Response, get, post
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, JSONBody, QueryParameter
from litestar.response import Stream

from edgeproof.contract.jobs import EvidenceList, JobFilter, JobPage, JobStatus, JobView
from edgeproof.contract.requests import CompleteDevRequest
from edgeproof.contract.run_metrics import JobMetrics
from edgeproof.contract.worker import AnalyzeBody
from edgeproof.http import event_stream
from edgeproof.http.authentication import plane_of
from edgeproof.http.body_guard import BODY_KIND
from edgeproof.http.description import BODY, TOKEN, problems
from edgeproof.http.json_bodies import StrictRequest
from edgeproof.http.paths import JobIdPath, known_id
from edgeproof.lab.forge_handover import asked_by
from edgeproof.server.artifacts.evidence import list_evidence
from edgeproof.server.jobs.analyze import analyze as queue_analysis
from edgeproof.server.jobs.cancel import cancel
from edgeproof.server.jobs.complete_dev import complete_dev, demand_dev
from edgeproof.server.jobs.jobs import job_document
from edgeproof.server.jobs.jobs import list_jobs as page_of_jobs
from edgeproof.server.plane.events import demand_visible
from edgeproof.server.plane.events import job_events as events_of_job
from edgeproof.server.runs.run_metrics import job_metrics as metrics_of_job

A_JOB = ResponseSpec(JobView, generate_examples=False, description="The job")
PLAIN = r"^[\x21-\x7e]{1,200}(?![\s\S])"

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(name="Idempotency-Key", pattern=PLAIN, description="Repeating it gives the same job"),
]
StatusQuery = Annotated[
    JobStatus | None, QueryParameter(name="status", description="Only jobs in this state")
]
WorkflowQuery = Annotated[
    str | None, QueryParameter(name="workflow", pattern=PLAIN, description="Only jobs of this kind")
]
OwnerQuery = Annotated[
    str | None, QueryParameter(name="owner", pattern=PLAIN, description="Of this principal; for admins")
]
PolicyQuery = Annotated[
    str | None,
    QueryParameter(name="policy", pattern=PLAIN, description="Decided by this policy: a name or a digest"),
]
CursorQuery = Annotated[
    str | None, QueryParameter(name="cursor", pattern=PLAIN, description="`next_cursor` of the page before")
]
LimitQuery = Annotated[int, QueryParameter(name="limit", ge=1, le=200, description="Jobs on a page")]
LastEventId = Annotated[
    str | None, HeaderParameter(name="Last-Event-ID", description="Only events behind this sequence number")
]


@post(
    "/api/analyze",
    status_code=200,
    opt={BODY_KIND: "request"},
    operation_id="analyze",
    summary="Queue an analysis of a model",
    tags=["jobs"],
    responses=problems(
        *TOKEN, *BODY, "job_exists", "conflict", "artifact_missing", "unknown_backend", "unknown_target",
        "unknown_precision", "unknown_preset", "unknown_policy", "policy_invalid", "policy_not_allowed",
        "unknown_runner", "unknown_worker", "calibration_required", "path_not_allowed",
    ),
)  # fmt: skip
async def analyze(request: StrictRequest, data: JSONBody[AnalyzeBody], key: IdempotencyKey = None) -> JobView:
    """Answers with the queued job. `options` is checked as `AnalyzeOptions`.

    A Forge's `worker_runtime_summary` is taken as well, as `ForgeHandover` says.
    """
    return await queue_analysis(plane_of(request), request.user, asked_by(data), key)


@get(
    "/api/jobs",
    operation_id="listJobs",
    summary="List jobs, newest first",
    tags=["jobs"],
    responses=problems(*TOKEN),
)
async def list_jobs(
    request: StrictRequest,
    status: StatusQuery = None,
    workflow: WorkflowQuery = None,
    owner: OwnerQuery = None,
    policy: PolicyQuery = None,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> JobPage:
    """Users see their own jobs, admins all. A cursor stays good while jobs come and go."""
    wanted = JobFilter(status=status, workflow=workflow, owner=owner, policy=policy)
    return await page_of_jobs(plane_of(request), request.user, wanted, cursor=cursor, limit=limit)


@get(
    "/api/jobs/{job_id:str}",
    operation_id="getJob",
    summary="One job",
    tags=["jobs"],
    responses={200: A_JOB, **problems(*TOKEN, "not_found")},
)
async def get_job(request: StrictRequest, job_id: JobIdPath) -> Response[bytes]:
    """Its status, its runs, and once it has ended its result or its error."""
    document = await job_document(plane_of(request), request.user, known_id(job_id))
    return Response(document, media_type=MediaType.JSON)


@post(
    "/api/jobs/{job_id:str}/cancel",
    status_code=200,
    operation_id="cancelJob",
    summary="Ask for a job to be cancelled",
    tags=["jobs"],
    responses=problems(*TOKEN, "not_found", "job_terminal"),
)
async def cancel_job(request: StrictRequest, job_id: JobIdPath) -> JobView:
    """The job is `cancelled` once none of its runs is leased."""
    return await cancel(plane_of(request), request.user, known_id(job_id))


def _developers_server(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Before the body is read: elsewhere the route is not there, whatever is sent to it."""
    demand_dev(connection.app.state["plane"])


@post(
    "/api/jobs/{job_id:str}/complete-dev",
    guards=[_developers_server],
    status_code=200,
    operation_id="completeJobByHand",
    summary="Complete a job by hand; only on a server that runs with `--dev`",
    tags=["jobs"],
    responses=problems(*TOKEN, *BODY, "not_found", "job_terminal", "conflict"),
)
async def complete_job_by_hand(
    request: StrictRequest, job_id: JobIdPath, data: JSONBody[CompleteDevRequest]
) -> JobView:
    """`result` is a response bundle. It is unsigned, whatever it says of itself."""
    return await complete_dev(plane_of(request), request.user, known_id(job_id), data.result)


@get(
    "/api/jobs/{job_id:str}/events",
    operation_id="followJob",
    summary="A job's events as server-sent events",
    tags=["jobs"],
    responses={
        200: ResponseSpec(
            data_container=event_stream.StreamedEvent,
            generate_examples=False,
            description="`id` is the sequence number, `event` the type, `data` a `JobEvent`; "
            "`event: end` is the last",
            media_type=event_stream.MEDIA_TYPE,
        ),
        **problems(*TOKEN, "not_found"),
    },
)
async def job_events(request: StrictRequest, job_id: JobIdPath, last: LastEventId = None) -> Stream:
    """`Last-Event-ID` resumes. A stream that stops without `event: end` is to be taken up again."""
    plane, after = plane_of(request), event_stream.sequence_number(last)
    await demand_visible(plane, request.user, known_id(job_id))
    told = events_of_job(plane, request.user, job_id, after)
    return Stream(
        event_stream.encode(told, plane.stopping),
        media_type=event_stream.MEDIA_TYPE,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@get(
    "/api/jobs/{job_id:str}/evidence",
    operation_id="listEvidence",
    summary="The documents that a job's decision rests on",
    tags=["jobs"],
    responses=problems(*TOKEN, "not_found"),
)
async def job_evidence(request: StrictRequest, job_id: JobIdPath) -> EvidenceList:
    """Each document is the artifact with that digest."""
    return await list_evidence(plane_of(request), request.user, known_id(job_id))


@get(
    "/api/jobs/{job_id:str}/metrics",
    operation_id="getJobMetrics",
    summary="A job's numbers as rows, by run and row key",
    tags=["jobs"],
    responses=problems(*TOKEN, "not_found"),
)
async def job_metrics(request: StrictRequest, job_id: JobIdPath) -> JobMetrics:
    """A view of the signed results of its completed runs; what a run did not measure is null."""
    return await metrics_of_job(plane_of(request), request.user, known_id(job_id))
