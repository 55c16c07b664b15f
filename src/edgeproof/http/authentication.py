"""Who asks: the bearer token of a request, before its body is read. What they may do is the use case's.

Routes with the option ``PUBLIC`` take no token: health, and registration, which carries its own proof.
"""

from __future__ import annotations

from typing import Any, Final

from litestar import Request
from litestar.datastructures import Headers
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from edgeproof.contract.log_ids import about
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.server.plane.principals import authenticate

PUBLIC: Final = "edgeproof_public"


class Authentication(ASGIMiddleware):
    """Puts the ``Principal`` at ``request.user``. Raises ``Refused`` (``unauthenticated``, ...)."""

    scopes = (ScopeType.HTTP,)
    exclude_opt_key = PUBLIC

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        header = Headers.from_scope(scope).get("authorization")
        principal = await authenticate(scope["litestar_app"].state["plane"], bearer_token(header))
        scope["user"] = principal
        with about(runner_id=principal.runner_id):
            await next_app(scope, receive, send)


def bearer_token(header: str | None) -> str | None:
    """The token of an ``Authorization: Bearer`` header, None when there is none."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def plane_of(request: Request[Any, Any, Any]) -> ControlPlane:
    """The control plane that ``create_app`` was given."""
    plane: ControlPlane = request.app.state["plane"]
    return plane
