"""Size, pace and nesting of bodies, with a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from edgeproof.client.direct_upload import DIRECT_BYTES
from edgeproof.contract.errors import Refused
from edgeproof.http.body_guard import (
    LINGER_BYTES,
    STRANGER_BYTES,
    STRANGER_SECONDS,
    BodyGuard,
    BodyLimits,
    BoundedBody,
    Pace,
    PeerStalled,
    gathered,
)


class Peer:
    """Sends ``chunks``, each after its delay in seconds of a clock that only it moves."""

    def __init__(self, *chunks: tuple[float, bytes], ends: bool = True) -> None:
        self.now = 0.0
        self._chunks = list(chunks)
        self._ends = ends
        self._sent_last = False

    @property
    def left(self) -> int:
        """Chunks that nobody took."""
        return len(self._chunks)

    async def receive(self) -> Any:
        if not self._chunks:
            return {"type": "http.disconnect"}
        delay, body = self._chunks.pop(0)
        self.now += delay
        return {"type": "http.request", "body": body, "more_body": bool(self._chunks) or not self._ends}

    async def within(self, awaitable: Awaitable[Any], seconds: float) -> Any:
        before = self.now
        message = await awaitable
        if self.now - before > seconds:
            raise TimeoutError
        return message

    def guard(self, max_bytes: int, pace: Pace | None = None) -> BoundedBody:
        return BoundedBody(
            self.receive, max_bytes, pace or Pace(), clock=lambda: self.now, within=self.within
        )


async def drain(receive: Callable[[], Awaitable[Any]]) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            return body


async def refused(receive: Callable[[], Awaitable[Any]]) -> str:
    with pytest.raises(Refused) as caught:
        await drain(receive)
    return caught.value.code


async def test_a_body_of_exactly_the_limit_passes() -> None:
    assert await drain(Peer((0, b"ab"), (0, b"cd")).guard(4)) == b"abcd"


async def test_one_byte_more_is_too_large() -> None:
    assert await refused(Peer((0, b"ab"), (0, b"cde")).guard(4)) == "body_too_large"


async def test_one_byte_every_five_seconds_is_too_slow() -> None:
    peer = Peer(*[(5.0, b"x")] * 1000)
    assert await refused(peer.guard(10_000)) == "body_too_slow"
    assert peer.now <= 15.0


async def test_silence_longer_than_the_idle_time_is_too_slow() -> None:
    fast = b"x" * 1_000_000
    assert await refused(Peer((0, fast), (10.5, fast)).guard(10_000_000)) == "body_too_slow"


async def test_a_rate_below_the_least_is_too_slow_only_after_the_grace() -> None:
    assert await refused(Peer(*[(1.0, b"x" * 500)] * 60).guard(1_000_000)) == "body_too_slow"
    assert len(await drain(Peer(*[(1.0, b"x" * 500)] * 9).guard(1_000_000))) == 4500


async def test_a_steady_body_at_the_least_rate_passes_however_long_it_takes() -> None:
    assert len(await drain(Peer(*[(1.0, b"x" * 1024)] * 600).guard(1_000_000))) == 600 * 1024


async def test_our_own_slowness_is_not_the_peers() -> None:
    peer = Peer(*[(0.1, b"x")] * 50)
    receive = peer.guard(1000)
    for _ in range(50):
        await receive()
        peer.now += 100.0  # the time we took to write the chunk


async def test_a_connection_that_ends_half_way_is_refused() -> None:
    assert await refused(Peer((0, b"half"), ends=False).guard(1000)) == "invalid_request"


async def test_after_the_end_the_peer_may_be_silent() -> None:
    peer = Peer((0, b"all"))
    receive = peer.guard(10)
    await receive()
    peer.now += 1000.0
    assert (await receive())["type"] == "http.disconnect"


async def test_gathered_hands_over_one_message_and_then_the_disconnect() -> None:
    receive = gathered(Peer((0, b'{"a"'), (0, b":1}")).receive, 64)
    assert await receive() == {"type": "http.request", "body": b'{"a":1}', "more_body": False}
    assert (await receive())["type"] == "http.disconnect"


async def test_gathered_refuses_deep_nesting_across_chunks() -> None:
    assert await refused(gathered(Peer((0, b"[" * 40), (0, b"[" * 40)).receive, 64)) == "body_too_deep"


def test_every_kind_of_body_has_its_limit() -> None:
    limits = BodyLimits(json_bytes=1, small_bytes=2, envelope_bytes=3, artifact_bytes=4, request_bytes=5)
    kinds = ("json", "small", "envelope", "artifact", "request")
    assert [limits.max_bytes(kind) for kind in kinds] == [1, 2, 3, 4, 5]


async def test_a_refused_body_is_taken_to_its_end_so_that_the_answer_is_read() -> None:
    peer = Peer(*[(0.1, b"x" * 100)] * 20)
    guard = peer.guard(150)
    assert await refused(guard) == "body_too_large"
    await guard.discard(stranger=False)
    assert peer.left == 0


async def test_discarding_has_a_bound() -> None:
    chunk = b"x" * (16 << 20)
    peer = Peer(*[(0.0, chunk)] * 20)
    await peer.guard(0).discard(stranger=False)
    assert peer.left == 20 - LINGER_BYTES // len(chunk) - 1


def test_a_stranger_may_be_a_user_whose_token_expired_and_is_heard_out() -> None:
    assert STRANGER_BYTES >= DIRECT_BYTES


async def test_of_a_strangers_body_little_is_taken() -> None:
    chunk = b"x" * (1 << 20)
    peer = Peer(*[(0.0, chunk)] * 100)
    await peer.guard(2 << 30).discard(stranger=True)
    assert peer.left == 100 - STRANGER_BYTES // len(chunk) - 1


@pytest.mark.parametrize("gap", [0.5, 4.0, 9.0])
async def test_a_stranger_is_not_waited_for_long(gap: float) -> None:
    peer = Peer(*[(gap, b"x" * 4096)] * 100)
    guard = peer.guard(2 << 30)
    await guard.discard(stranger=True)
    assert peer.now <= STRANGER_SECONDS + gap
    assert peer.left > 80


async def test_a_slow_body_is_not_waited_for_again() -> None:
    peer = Peer((0, b"x"), (60.0, b"x"), (60.0, b"x"))
    guard = peer.guard(100)
    assert await refused(guard) == "body_too_slow"
    before = peer.now
    await guard.discard(stranger=False)
    assert peer.now == before


@pytest.mark.parametrize("taken", [0, 1, 2])
async def test_an_answer_that_its_peer_does_not_take_is_given_up(taken: int) -> None:
    """At whichever of its parts, the last, empty one included."""
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            if len(sent) == taken:
                await asyncio.Event().wait()
            sent.append(message["body"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"much", "more_body": True})
        await send({"type": "http.response.body", "body": b"more", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    scope: Any = {"type": "http", "headers": [], "route_handler": SimpleNamespace(opt={})}
    with pytest.raises(PeerStalled):
        await BodyGuard(BodyLimits(send_seconds=0.01)).handle(scope, receive, send, application)
    assert sent == [b"much", b"more"][:taken]


@pytest.mark.parametrize("user", [None, "somebody"])
async def test_who_is_refused_decides_how_much_is_taken(user: str | None) -> None:
    taken = 0

    async def receive() -> Any:
        nonlocal taken
        taken += 1 << 20
        return {"type": "http.request", "body": b"x" * (1 << 20), "more_body": taken < 20 << 20}

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        scope["user"] = user
        raise Refused("forbidden")

    async def send(message: Any) -> None:
        raise AssertionError("an exception is rendered outside")

    scope: Any = {"type": "http", "headers": [], "route_handler": SimpleNamespace(opt={})}
    with pytest.raises(Refused):
        await BodyGuard(BodyLimits(json_bytes=20 << 20)).handle(scope, receive, send, refuse)
    assert taken == (STRANGER_BYTES + (1 << 20) if user is None else 20 << 20)
