"""``GET /health``: that this replica answers, and which key it signs with."""

from __future__ import annotations

from litestar import get

import edgeproof
from edgeproof.contract.jobs import Health
from edgeproof.http.authentication import PUBLIC, plane_of
from edgeproof.http.json_bodies import StrictRequest


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
