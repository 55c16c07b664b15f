"""Kept runtime results: add, list, show; and their history."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import get, post
from litestar.params import HeaderParameter, JSONBody, PathParameter, QueryParameter

from edgeproof.contract.bundle import Basis
from edgeproof.contract.stored_results import (
    AddResultRequest,
    HistoryReport,
    ResultDocument,
    ResultFilter,
    ResultPage,
)
from edgeproof.http.authentication import plane_of
from edgeproof.http.description import BODY, TOKEN, problems
from edgeproof.http.jobs import PLAIN, CursorQuery, OwnerQuery
from edgeproof.http.json_bodies import StrictRequest
from edgeproof.http.paths import known_id
from edgeproof.server.results import results
from edgeproof.server.results.compare import history

TEXT = r"^[^\x00]{1,200}(?![\s\S])"
KEYS = r"^[^\x00]{1,1000}(?![\s\S])"

ResultPath = Annotated[
    str, PathParameter(description="A result's id or digest, or a job's id for its candidate's result")
]
ResultKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key", pattern=PLAIN, description="It then stands for this result and no other"
    ),
]
ModelQuery = Annotated[str | None, QueryParameter(name="model", pattern=TEXT, description="Model as stated")]
EngineQuery = Annotated[str | None, QueryParameter(name="engine", pattern=TEXT, description="Engine")]
DeviceQuery = Annotated[str | None, QueryParameter(name="device", pattern=TEXT, description="Device")]
PrecisionQuery = Annotated[
    str | None, QueryParameter(name="precision", pattern=TEXT, description="Precision")
]
BasisQuery = Annotated[Basis | None, QueryParameter(name="basis", description="Who vouches for it")]
SourceQuery = Annotated[
    Literal["posted", "measured", "worker"] | None,
    QueryParameter(name="source", description="How it came here"),
]
CompareKeyQuery = Annotated[
    str | None, QueryParameter(name="compare_key", pattern=KEYS, description="Model, shape and precision")
]
BackendKeyQuery = Annotated[
    str | None, QueryParameter(name="backend_key", pattern=KEYS, description="Engine and device")
]
JobQuery = Annotated[str | None, QueryParameter(name="job", pattern=PLAIN, description="Of this job")]
ResultLimit = Annotated[int, QueryParameter(name="limit", ge=1, le=200, description="Results on a page")]


@post(
    "/api/results",
    status_code=200,
    operation_id="addResult",
    summary="Keep a runtime result",
    tags=["results"],
    responses=problems(*TOKEN, *BODY, "result_invalid", "conflict"),
)
async def add_result(
    request: StrictRequest, data: JSONBody[AddResultRequest], key: ResultKey = None
) -> ResultDocument:
    """Nobody signed it, so `basis` is `unsigned`. Posting the same result again changes nothing."""
    return await results.add_result(plane_of(request), request.user, data.result, key)


@get(
    "/api/results",
    operation_id="listResults",
    summary="List kept results, newest kept first",
    tags=["results"],
    responses=problems(*TOKEN),
)
async def list_results(
    request: StrictRequest,
    model: ModelQuery = None,
    engine: EngineQuery = None,
    device: DeviceQuery = None,
    precision: PrecisionQuery = None,
    compare_key: CompareKeyQuery = None,
    backend_key: BackendKeyQuery = None,
    basis: BasisQuery = None,
    source: SourceQuery = None,
    job: JobQuery = None,
    owner: OwnerQuery = None,
    cursor: CursorQuery = None,
    limit: ResultLimit = 50,
) -> ResultPage:
    """Posted ones and those that runners measured. Users see their own, admins all."""
    wanted = ResultFilter(
        model=model,
        engine=engine,
        device=device,
        precision=precision,
        compare_key=compare_key,
        backend_key=backend_key,
        basis=basis,
        source=source,
        job=job,
        owner=owner,
    )
    return await results.list_results(plane_of(request), request.user, wanted, cursor=cursor, limit=limit)


@get(
    "/api/results/{result_id:str}",
    operation_id="getResult",
    summary="One kept result in full",
    tags=["results"],
    responses=problems(*TOKEN, "not_found"),
)
async def get_result(request: StrictRequest, result_id: ResultPath) -> ResultDocument:
    """As it came. Of several with one digest the newest kept."""
    return await results.get_result(plane_of(request), request.user, known_id(result_id))


HistoryId = Annotated[
    str | None,
    QueryParameter(name="id", pattern=PLAIN, description="Results of the same work as this result"),
]


@get(
    "/api/history",
    operation_id="history",
    summary="Kept results over time, by model, shape, precision, engine and device",
    tags=["results"],
    responses=problems(*TOKEN, "unknown_result"),
)
async def result_history(
    request: StrictRequest,
    id_: HistoryId = None,
    model: ModelQuery = None,
    engine: EngineQuery = None,
    device: DeviceQuery = None,
    precision: PrecisionQuery = None,
    basis: BasisQuery = None,
    owner: OwnerQuery = None,
    cursor: CursorQuery = None,
    limit: ResultLimit = 100,
) -> HistoryReport:
    """Of the newest kept that fit; each series with what our guard says of it."""
    wanted = ResultFilter(
        model=model, engine=engine, device=device, precision=precision, basis=basis, owner=owner
    )
    return await history(plane_of(request), request.user, wanted, reference=id_, cursor=cursor, limit=limit)
