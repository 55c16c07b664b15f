"""Bounds every request body before anything decodes it: bytes, pace and nesting (DESIGN decision 2); and how
long an answer's part may wait for its peer.

Only the time spent waiting for the peer counts, so a slow disk of ours never makes an upload "slow".
What a body means is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPRequestEvent, Message, Receive, Scope, Send

from edgeproof.contract.errors import Refused
from edgeproof.http.json_bodies import check_depth

BODY_KIND: Final = "edgeproof_body"
"""Route option: ``json`` (the default), ``request``, ``small``, ``envelope`` or ``artifact``."""

LINGER_BYTES: Final = 64 << 20
"""How much of a refused body beyond its limit is taken and forgotten, if a principal sends it."""

STRANGER_BYTES: Final = 8 << 20
STRANGER_SECONDS: Final = 5.0
"""How much of a refused body, in how many seconds of waiting, is taken from who showed no valid token. Our
client asks before it sends more: whose token has expired is told so, and not cut off."""

T = TypeVar("T")
Clock = Callable[[], float]
Within = Callable[[Awaitable[T], float], Awaitable[T]]


@dataclass(frozen=True)
class Pace:
    """How slowly a body may arrive, in seconds of waiting and bytes per second."""

    idle_seconds: float = 10.0
    grace_seconds: float = 10.0
    bytes_per_second: float = 1024.0

    def allowance(self, waited: float, received: int) -> float:
        """Seconds that the next chunk may take, after ``received`` bytes in ``waited`` seconds."""
        until_too_slow = self.grace_seconds + received / self.bytes_per_second - waited
        return max(0.0, min(self.idle_seconds, until_too_slow))


@dataclass(frozen=True)
class BodyLimits:
    """Bytes per kind of body and the pace of all. ``small`` is for routes that need no token, ``request`` for
    what a job keeps and every page of jobs shows.

    JSON is read on the event loop, so its bound is what keeps one request from holding up the others; an
    ``envelope`` is judged in a thread.
    """

    json_bytes: int = 1 << 20
    request_bytes: int = 256 << 10
    small_bytes: int = 256 << 10
    envelope_bytes: int = 8 << 20
    artifact_bytes: int = 2 << 30
    max_depth: int = 64
    send_seconds: float = 60.0
    pace: Pace = field(default_factory=Pace)

    def max_bytes(self, kind: str) -> int:
        return {
            "json": self.json_bytes,
            "request": self.request_bytes,
            "small": self.small_bytes,
            "envelope": self.envelope_bytes,
            "artifact": self.artifact_bytes,
        }[kind]


async def _within(awaitable: Awaitable[T], seconds: float) -> T:
    async with asyncio.timeout(seconds):
        return await awaitable


class BoundedBody:
    """A ``receive`` that raises ``Refused`` once the body is too large, too slow or cut off.

    After the body's end it is transparent, so that a disconnect can still be awaited.
    """

    def __init__(
        self,
        receive: Receive,
        max_bytes: int,
        pace: Pace,
        *,
        clock: Clock = time.monotonic,
        within: Within[HTTPReceiveMessage] = _within,
    ) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._pace = pace
        self._clock = clock
        self._within = within
        self._received = 0
        self._waited = 0.0
        self._over = False

    async def __call__(self) -> HTTPReceiveMessage:
        message = await self._next()
        if self._received > self._max_bytes:
            raise too_large(self._max_bytes)
        return message

    async def discard(self, *, stranger: bool) -> None:
        """Take the rest and forget it, so that the peer has stopped sending and reads our refusal.

        A connection closed on a peer that still sends loses the answer; that is what happens
        ``LINGER_BYTES`` beyond the limit, and to a ``stranger`` much sooner.
        """
        most = STRANGER_BYTES if stranger else self._max_bytes + LINGER_BYTES
        seconds = STRANGER_SECONDS if stranger else math.inf
        began = self._waited
        while not self._over and self._received <= most:
            with suppress(Refused):
                await self._next(began + seconds - self._waited)

    async def _next(self, seconds: float = math.inf) -> HTTPReceiveMessage:
        """What comes next, within ``seconds`` and what the pace allows."""
        if self._over:
            return await self._receive()  # type: ignore[return-value]  # HTTP scope only: no websocket message
        started = self._clock()
        try:
            allowed = min(seconds, self._pace.allowance(self._waited, self._received))
            message = await self._within(self._receive(), allowed)  # type: ignore[arg-type]  # as above
        except TimeoutError:
            self._over = True
            waited = self._waited + self._clock() - started
            raise Refused("body_too_slow", f"{self._received} bytes in {waited:.1f} s") from None
        self._waited += self._clock() - started
        if message["type"] == "http.disconnect":
            self._over = True
            raise Refused("invalid_request", f"the connection ended after {self._received} bytes of the body")
        self._received += len(message["body"])
        self._over = not message["more_body"]
        return message


def too_large(max_bytes: int) -> Refused:
    return Refused("body_too_large", f"this route takes at most {max_bytes} bytes")


def gathered(receive: Receive, max_depth: int) -> Receive:
    """``receive`` that hands over the whole body as one message, its nesting checked."""
    delivered = False

    async def whole_body() -> HTTPReceiveMessage:
        nonlocal delivered
        if delivered:
            return await receive()  # type: ignore[return-value]  # HTTP scope only: no websocket message
        chunks: list[bytes] = []
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise Refused("invalid_request", "the connection ended before the body did")
            chunks.append(message["body"])
            more = message["more_body"]
        delivered = True
        body = b"".join(chunks)
        check_depth(body, max_depth)
        return HTTPRequestEvent(type="http.request", body=body, more_body=False)

    return whole_body


class PeerStalled(Exception):
    """A part of the answer was not taken in time: the connection is to be closed."""


class BodyGuard(ASGIMiddleware):
    """Puts ``BoundedBody``, and for JSON ``gathered``, between the server and every handler."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        kind = body_kind(scope)
        max_bytes = self._limits.max_bytes(kind)
        body = BoundedBody(receive, max_bytes, self._limits.pace)
        in_parts = False

        async def after_the_body(message: Message) -> None:
            nonlocal in_parts
            if message["type"] == "http.response.start" and message["status"] >= 400:
                await body.discard(stranger=is_stranger(scope))
            in_parts = in_parts or bool(message.get("more_body"))
            if not in_parts:
                # The server takes an answer in one piece whole: nobody waits for the peer here.
                await send(message)
                return
            try:
                await _within(send(message), self._limits.send_seconds)
            except TimeoutError as error:
                raise PeerStalled from error

        try:
            bounded = body if kind == "artifact" else gathered(body, self._limits.max_depth)
            await next_app(scope, bounded, after_the_body)
        except Exception:
            await body.discard(stranger=is_stranger(scope))
            raise


class AnnouncedLength(ASGIMiddleware):
    """Refuses a body that says itself that it is too large. After authentication, so that it is known from
    whom the rest is still taken."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        max_bytes = self._limits.max_bytes(body_kind(scope))
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced[:20]) > max_bytes:
            raise too_large(max_bytes)
        await next_app(scope, receive, send)


def is_stranger(scope: Scope) -> bool:
    """Whether no valid token came with the request, or has not been looked at yet."""
    return scope.get("user") is None


def body_kind(scope: Scope) -> str:
    kind: str = scope["route_handler"].opt.get(BODY_KIND, "json")
    return kind
