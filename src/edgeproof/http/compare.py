"""Unsigned comparisons of two results. Nothing is stored, nothing signed."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, QueryParameter

from edgeproof.contract.bundle import ResponseBundle
from edgeproof.contract.stored_results import CompareRequest, ResultFilter, SelectionMode
from edgeproof.http.authentication import plane_of
from edgeproof.http.description import BODY, TOKEN, problems
from edgeproof.http.jobs import PLAIN
from edgeproof.http.json_bodies import StrictRequest
from edgeproof.http.results import DeviceQuery, EngineQuery, ModelQuery
from edgeproof.server.results import compare

BUNDLE = {
    200: ResponseSpec(
        ResponseBundle,
        generate_examples=False,
        description="Seed 000's response bundle; `basis` is `unsigned`",
    )
}

BaseQuery = Annotated[
    str, QueryParameter(name="base", pattern=PLAIN, description="Id or digest of the baseline's result")
]
NewQuery = Annotated[
    str, QueryParameter(name="new", pattern=PLAIN, description="Id or digest of the candidate's result")
]
GuardQuery = Annotated[bool, QueryParameter(name="with_guard", description="Ask our guard")]
ModeQuery = Annotated[
    SelectionMode, QueryParameter(name="selection_mode", description="Of one precision, or of two")
]


@post(
    "/api/compare",
    status_code=200,
    operation_id="compare",
    summary="Compare two results",
    tags=["results"],
    responses={
        **BUNDLE,
        **problems(
            *TOKEN, *BODY, "result_invalid", "unknown_result", "unknown_policy", "policy_needs_samples"
        ),
    },
)
async def compare_results(request: StrictRequest, data: JSONBody[CompareRequest]) -> dict[str, Any]:
    """Bodies, ids or digests. The decision goes by the policy's rules and is never signed."""
    return await compare.compare(plane_of(request), request.user, data)


@get(
    "/api/compare",
    operation_id="compareKept",
    summary="Compare two kept results",
    tags=["results"],
    responses={**BUNDLE, **problems(*TOKEN, "result_invalid", "unknown_result")},
)
async def compare_kept(
    request: StrictRequest, base: BaseQuery, new: NewQuery, with_guard: GuardQuery = False
) -> dict[str, Any]:
    """Under `inferedge-v1`; for anything else post to this route."""
    return await compare.compare_stored(plane_of(request), request.user, base, new, with_guard=with_guard)


@get(
    "/api/compare-latest",
    operation_id="compareLatest",
    summary="Compare the newest two results that go together",
    tags=["results"],
    responses={**BUNDLE, **problems(*TOKEN, "not_found", "result_invalid")},
)
async def compare_latest(
    request: StrictRequest,
    selection_mode: ModeQuery = "same_precision",
    model: ModelQuery = None,
    engine: EngineQuery = None,
    device: DeviceQuery = None,
    with_guard: GuardQuery = False,
) -> dict[str, Any]:
    """The newest by their own times, of one model, shape, engine and device; of the newest thousand."""
    wanted = ResultFilter(model=model, engine=engine, device=device)
    return await compare.compare_latest(
        plane_of(request), request.user, selection_mode, wanted, with_guard=with_guard
    )
