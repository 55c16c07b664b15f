"""What is repeated and what is not, and how a peer's answers become errors."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import msgspec
import pytest

from edgeproof.client.address import ServerAddress
from edgeproof.client.exchange import Exchange, NotOurs, RetryPolicy
from edgeproof.contract.envelope import PublicKey, SigningKey
from edgeproof.contract.errors import EdgeproofError, Refused, Unavailable
from edgeproof.contract.jobs import Health

Answer = Callable[[httpx.Request], httpx.Response]


class Scripted:
    """A transport that answers as scripted and counts; the pauses asked for are kept."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.requests: list[httpx.Request] = []
        self.bodies: list[bytes] = []
        self.pauses: list[float] = []
        self._answers = list(answers)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(await request.aread())
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def exchange(self, token: str | None = "t", attempts: int = 4) -> Exchange:
        retry = RetryPolicy(
            attempts=attempts, base_seconds=1, cap_seconds=3, sleep=self._sleep, jitter=lambda: 1.0
        )
        address = ServerAddress.parse("http://127.0.0.1:1")
        return Exchange(address, token, retry, self.transport())

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)


def problem(error: EdgeproofError) -> httpx.Response:
    return httpx.Response(error.status, content=msgspec.json.encode(error.problem()))


def ok() -> httpx.Response:
    return httpx.Response(200, json={})


async def test_the_token_travels_as_bearer() -> None:
    script = Scripted(ok())
    await script.exchange(token="secret").send("GET", "/x", idempotent=True)
    assert script.requests[0].headers["authorization"] == "Bearer secret"


async def test_an_empty_token_is_none() -> None:
    script = Scripted(ok())
    await script.exchange(token="").send("GET", "/x", idempotent=True)
    assert "authorization" not in script.requests[0].headers


@pytest.mark.parametrize("token", ["secret\n", " ", "s\u00e9cret"])
async def test_what_can_be_no_token_is_said_to_be_none_and_not_shown(token: str) -> None:
    script = Scripted()
    with pytest.raises(Refused, match="white space") as refused:
        await script.exchange(token=token).send("GET", "/x", idempotent=True)
    assert refused.value.code == "unauthenticated"
    assert "cret" not in str(refused.value)
    assert script.requests == []


async def test_a_lost_idempotent_request_is_repeated_with_growing_pauses() -> None:
    script = Scripted(
        httpx.ReadError("cut"), httpx.ReadTimeout("late"), problem(Unavailable("unavailable")), ok()
    )
    await script.exchange().send("GET", "/x", idempotent=True)
    assert script.pauses == [1.0, 2.0, 3.0]


async def test_a_body_that_came_too_slowly_is_sent_again() -> None:
    """A stalled network says nothing against what is sent: a runner must not give up its result for it."""
    script = Scripted(problem(Refused("body_too_slow")), ok())
    await script.exchange().send("PUT", "/x", body=b"result", idempotent=True)
    assert script.bodies == [b"result", b"result"]
    script = Scripted(problem(Refused("body_too_slow")))
    with pytest.raises(Unavailable) as caught:
        await script.exchange(attempts=1).send("PUT", "/x", body=b"result", idempotent=True)
    assert caught.value.code == "body_too_slow"


async def test_a_lost_request_that_is_not_idempotent_is_not_repeated() -> None:
    script = Scripted(httpx.ReadError("cut"), ok())
    with pytest.raises(Unavailable) as caught:
        await script.exchange().send("POST", "/x", idempotent=False)
    assert caught.value.code == "server_unreachable"
    assert len(script.requests) == 1


async def test_a_request_that_never_left_is_repeated_always() -> None:
    script = Scripted(httpx.ConnectError("refused"), ok())
    await script.exchange().send("POST", "/x", idempotent=False)
    assert len(script.requests) == 2


async def test_attempts_run_out() -> None:
    script = Scripted(*[httpx.ConnectError("refused")] * 9)
    with pytest.raises(Unavailable) as caught:
        await script.exchange(attempts=3).send("GET", "/x", idempotent=True)
    assert caught.value.code == "server_unreachable"
    assert len(script.requests) == 3


async def test_a_refusal_is_not_repeated_and_keeps_its_details() -> None:
    script = Scripted(problem(Refused("challenge_required", "prove it", nonce="n1")))
    with pytest.raises(Refused) as caught:
        await script.exchange().send("GET", "/x", idempotent=True)
    assert (caught.value.code, caught.value.detail, caught.value.nonce) == (
        "challenge_required",
        "prove it",
        "n1",
    )


@pytest.mark.parametrize(
    ("response", "kind", "code"),
    [
        (httpx.Response(500, text="oops"), Unavailable, "internal_error"),
        (httpx.Response(404, text="<html>"), NotOurs, "invalid_request"),
        (httpx.Response(302, headers={"location": "https://elsewhere"}), NotOurs, "invalid_request"),
        (httpx.Response(502, text="bad gateway"), Unavailable, "server_unreachable"),
    ],
)
async def test_what_is_no_problem_document(
    response: httpx.Response, kind: type[EdgeproofError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        await Scripted(response).exchange(attempts=1).send("GET", "/x", idempotent=True)
    assert caught.value.code == code


async def test_a_streamed_body_begins_anew_on_each_attempt() -> None:
    async def chunks():  # type: ignore[no-untyped-def]  # an async generator of bytes
        yield b"one"
        yield b"two"

    script = Scripted(httpx.WriteError("cut"), ok())
    await script.exchange().send("PUT", "/x", body=chunks, idempotent=True)
    assert script.bodies == [b"onetwo", b"onetwo"]


async def test_a_pinned_key_is_asked_for_before_anything_is_told() -> None:
    expected, other = SigningKey.generate().public, SigningKey.generate().public

    def health(key: PublicKey) -> httpx.Response:
        told = Health(status="ok", service="edgeproof", version="1", server_key=key.base64)
        return httpx.Response(200, content=msgspec.json.encode(told))

    address = ServerAddress("http://127.0.0.1:1", expected.keyid)
    wrong = Scripted(health(other))
    with pytest.raises(Refused) as caught:
        await Exchange(address, "t", RetryPolicy(), wrong.transport()).send("PUT", "/x", idempotent=True)
    assert caught.value.code == "server_key_mismatch"
    right = Scripted(health(expected), ok(), ok())
    exchange = Exchange(address, "t", RetryPolicy(), right.transport())
    for _ in range(2):
        await exchange.send("PUT", "/x", idempotent=True)
    assert [one.url.path for one in right.requests] == ["/health", "/x", "/x"]
    assert [one.url.path for one in wrong.requests] == ["/health"]
    assert "Authorization" not in wrong.requests[0].headers


@pytest.mark.parametrize(
    ("header", "pause"), [("7", 8.0), ("100000", 121.0), ("-1", 1.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 1.0)]
)
async def test_a_server_that_asks_to_be_left_alone_is(header: str, pause: float) -> None:
    away = problem(Unavailable("unavailable"))
    away.headers["Retry-After"] = header
    script = Scripted(away, ok())
    await script.exchange().send("GET", "/x", idempotent=True)
    assert script.pauses == [pause]
