"""Whoever raised it, an error is a problem document; what is unexpected tells nobody why."""

from __future__ import annotations

import asyncpg
import httpx
import msgspec
import pytest
from litestar import Litestar, get, post

from edgeproof.contract.errors import FieldError, Problem, Refused, Unavailable
from edgeproof.http.problems import EXCEPTION_HANDLERS


async def answer(error: Exception, method: str = "GET", path: str = "/") -> httpx.Response:
    """What a route that raises ``error`` answers. Nothing is listened on."""

    @get("/")
    async def failing() -> None:
        raise error

    @post("/only-post")
    async def posting() -> None:
        raise error

    app = Litestar(
        [failing, posting], exception_handlers=EXCEPTION_HANDLERS, logging_config=None, openapi_config=None
    )
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)  # type: ignore[arg-type]  # two ASGI typings
    async with httpx.AsyncClient(transport=transport, base_url="http://unused") as client:
        return await client.request(method, path)


def problem(response: httpx.Response) -> Problem:
    assert response.headers["content-type"] == "application/problem+json"
    return msgspec.json.decode(response.content, type=Problem)


async def test_ours_keep_everything() -> None:
    error = Refused("invalid_request", "why", errors=(FieldError(path="$.a", message="odd"),), nonce="n")
    response = await answer(error)
    assert response.status_code == 400
    assert problem(response) == error.problem()


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.CannotConnectNowError("starting"),
        asyncpg.AdminShutdownError("bye"),
        asyncpg.ConnectionDoesNotExistError("cut"),
        asyncpg.TooManyConnectionsError("full"),
        asyncpg.DeadlockDetectedError("knot"),
        asyncpg.InterfaceError("pool is closing"),
        asyncpg.InternalClientError("cannot switch to state 11"),
        ConnectionRefusedError(111, "refused"),
        FileNotFoundError(2, "no socket"),
        TimeoutError("late"),
        Unavailable("unavailable"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_may_be_repeated(error: Exception) -> None:
    response = await answer(error)
    assert (response.status_code, problem(response).code) == (503, "unavailable")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    "error", [ValueError("secret"), asyncpg.UniqueViolationError("secret"), RecursionError("secret")]
)
async def test_the_unexpected_does_not_tell_why(error: Exception) -> None:
    response = await answer(error)
    assert (response.status_code, problem(response).code) == (500, "internal_error")
    assert "secret" not in response.text


async def test_a_401_says_how_to_authenticate() -> None:
    assert (await answer(Refused("unauthenticated"))).headers["www-authenticate"] == "Bearer"


async def test_routes_and_methods() -> None:
    assert problem(await answer(ValueError(), path="/absent")).code == "not_found"
    wrong = await answer(ValueError(), path="/only-post")
    assert problem(wrong).code == "method_not_allowed"
    assert "POST" in wrong.headers["allow"]
