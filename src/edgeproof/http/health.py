"""``GET /health``: that this replica answers, and with which key it signs; ``/ready``: that it can work."""

from __future__ import annotations

from litestar import get
from litestar.datastructures import CacheControlHeader

import edgeproof
from edgeproof.contract.errors import Unavailable
from edgeproof.contract.jobs import Health, Readiness
from edgeproof.http.authentication import PUBLIC, plane_of
from edgeproof.http.description import problems
from edgeproof.http.json_bodies import StrictRequest
from edgeproof.server.plane.readiness import is_ready


@get(
    "/health",
    opt={PUBLIC: True},
    security=[{}],
    operation_id="getHealth",
    summary="Whether the control plane answers, and its public key",
    tags=["server"],
)
async def get_health(request: StrictRequest) -> Health:
    """Needs no token and no database. Runners pin `server_key` (Ed25519, base64)."""
    return Health(
        status="ok",
        service="edgeproof-control-plane",
        version=edgeproof.__version__,
        server_key=plane_of(request).keys.signing.public.base64,
    )


@get(
    "/ready",
    opt={PUBLIC: True},
    security=[{}],
    cache_control=CacheControlHeader(no_store=True),
    operation_id="getReadiness",
    summary="Whether this replica can do work just now",
    tags=["server"],
    responses=problems(),
)
async def get_ready(request: StrictRequest) -> Readiness:
    """For load balancers; needs no token. Asks the database, for two seconds at most: 503 where it does not
    answer, and from the moment that the replica begins to stop."""
    if not await is_ready(plane_of(request)):
        raise Unavailable("unavailable")
    return Readiness(status="ready")
