"""Every error as RFC 9457 ``application/problem+json`` with a stable code, whoever raised it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import (
    ClientException,
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)

from edgeproof.contract.errors import EdgeproofError, FieldError, Refused, Unavailable
from edgeproof.server.db.database import AWAY

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"

_log = logging.getLogger(__name__)
AnyRequest = Request[Any, Any, Any]


def render(error: EdgeproofError, headers: dict[str, str] | None = None) -> Response[bytes]:
    """The response for ``error``; 401 and 503 say what may be done about them."""
    sent = dict(headers or {})
    if error.status == 401:
        sent["WWW-Authenticate"] = "Bearer"
    if error.status == 503:
        sent["Retry-After"] = "1"
    return Response(
        msgspec.json.encode(error.problem()),
        status_code=error.status,
        media_type=PROBLEM_MEDIA_TYPE,
        headers=sent,
    )


def _ours(_: AnyRequest, error: EdgeproofError) -> Response[bytes]:
    if error.status >= 500:
        _log.warning("%s: %s", error.code, error.detail)
    return render(error)


def _not_found(request: AnyRequest, _: NotFoundException) -> Response[bytes]:
    return render(Refused("not_found", f"there is no {request.url.path}"))


def _method(request: AnyRequest, error: MethodNotAllowedException) -> Response[bytes]:
    allowed = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    return render(Refused("method_not_allowed", f"{request.method} is not taken here"), allowed)


def _validation(_: AnyRequest, error: ValidationException) -> Response[bytes]:
    extra = error.extra if isinstance(error.extra, list) else []
    violations = tuple(
        FieldError(path=str(one.get("key", "$")), message=str(one.get("message", "")))
        for one in extra
        if isinstance(one, dict)
    )
    words = "; ".join(f"{one.path}: {one.message}" for one in violations)
    return render(Refused("invalid_request", words or error.detail, errors=violations))


def _client(_: AnyRequest, error: ClientException) -> Response[bytes]:
    return render(Refused("invalid_request", error.detail))


def _framework(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    if error.status_code < 500:
        return render(Refused("invalid_request", error.detail))
    return _unexpected(request, error)


def _away(_: AnyRequest, error: Exception) -> Response[bytes]:
    _log.warning("something that is needed is away: %r", error)
    return render(Unavailable("unavailable", "a part of the control plane is away for the moment"))


def _unexpected(request: AnyRequest, error: Exception) -> Response[bytes]:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return render(Unavailable("internal_error"))


EXCEPTION_HANDLERS: Final[dict[int | type[Exception], Callable[[AnyRequest, Any], Response[bytes]]]] = {
    EdgeproofError: _ours,
    NotFoundException: _not_found,
    MethodNotAllowedException: _method,
    ValidationException: _validation,
    ClientException: _client,
    HTTPException: _framework,
    **dict.fromkeys((*AWAY, OSError), _away),
    Exception: _unexpected,
}
