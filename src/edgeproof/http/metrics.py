"""``GET /metrics`` for Prometheus, and the middleware that times requests and names what they are about."""

from __future__ import annotations

import time

from litestar import Response, get
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CONTENT_TYPE_LATEST

from edgeproof.contract.log_ids import about
from edgeproof.http.authentication import PUBLIC, bearer_token, plane_of
from edgeproof.http.description import TOKEN, problems
from edgeproof.http.json_bodies import StrictRequest
from edgeproof.server.plane.principals import authenticate, require
from edgeproof.server.upkeep.queue_gauges import metrics_document

DOCUMENT = ResponseSpec(str, generate_examples=False, description="Metrics", media_type="text/plain")


@get(
    "/metrics",
    opt={PUBLIC: True},
    media_type="text/plain",
    operation_id="getMetrics",
    summary="What operators watch, in Prometheus' text format",
    tags=["server"],
    responses={200: DOCUMENT, **problems(*TOKEN)},
)
async def get_metrics(request: StrictRequest) -> Response[bytes]:
    """For admins; for everybody where the operator said `--metrics-open`."""
    plane = plane_of(request)
    if not plane.settings.metrics_open:
        require(await authenticate(plane, bearer_token(request.headers.get("authorization"))), "admin")
    # As a header: to a media type Litestar would add its own charset.
    return Response(await metrics_document(plane), headers={"content-type": CONTENT_TYPE_LATEST})


class Observed(ASGIMiddleware):
    """Outermost: times every request that has a route, and lets log lines name its job, run and runner."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        plane = scope["litestar_app"].state["plane"]
        method, route = str(scope.get("method")), scope["path_template"]
        began = time.perf_counter()

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                took = time.perf_counter() - began
                plane.meters.requests.labels(method, route, str(message["status"])).observe(took)
            await send(message)

        named = scope["path_params"]
        with about(job_id=_text(named.get("job_id")), run_id=_text(named.get("run_id"))):
            await next_app(scope, receive, timed)


def _text(value: object) -> str | None:
    return value[:200] if isinstance(value, str) else None
