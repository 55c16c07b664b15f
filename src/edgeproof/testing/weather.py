"""``Weather``: a transport over which calls go to several servers in turn, and are lost, doubled and late.

Every fate is drawn from a seed. A call that is repeated or late arrives byte for byte as it was.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any

import httpx

from edgeproof.contract.base import Wire


class Chances(Wire, frozen=True, kw_only=True):
    """Of one call: that it never arrives, that its answer is lost, that it arrives twice, or again later.

    A call is held for up to ``delay_seconds`` first. Of a doubled one the caller hears the second answer, but
    of claims and registrations the first: the second says that it comes too late. Claims do not come again
    later: one that finds its runner without a lease is an order for work like any other.
    """

    lost: float = 0.0
    unanswered: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    delay_seconds: float = 0.0
    late_seconds: float = 1.0


class Weather(httpx.AsyncBaseTransport):
    """``servers`` are base URLs of replicas; each call goes to the next one."""

    def __init__(self, servers: Sequence[str], chances: Chances, chance: random.Random) -> None:
        self._servers = [httpx.URL(one) for one in servers]
        self._chances = chances
        self._chance = chance
        self._turn = chance.randrange(len(servers))
        self._inner = httpx.AsyncHTTPTransport()
        self._late: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        chances, drawn = self._chances, self._chance.random
        body = await request.aread()
        if chances.delay_seconds:
            await asyncio.sleep(chances.delay_seconds * drawn())
        if drawn() < chances.lost:
            raise httpx.ReadError("lost on the way there")
        if drawn() < chances.late and not request.url.path.endswith("/claim"):
            self._start(self._later(request, body, chances.late_seconds * drawn()))
        response = await self._send(request, body)
        if drawn() < chances.doubled:
            if request.url.path.endswith(("/claim", "/register")):
                self._start(self._later(request, body, 0.0))
            else:
                await response.aread()
                await response.aclose()
                response = await self._send(request, body)
        if drawn() < chances.unanswered:
            await response.aread()
            await response.aclose()
            raise httpx.ReadError("lost on the way back")
        return response

    async def aclose(self) -> None:
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)
        await self._inner.aclose()

    def _start(self, sending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(sending)
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _later(self, request: httpx.Request, body: bytes, seconds: float) -> None:
        await asyncio.sleep(seconds)
        try:
            response = await self._send(request, body)
            await response.aread()
            await response.aclose()
        except httpx.HTTPError:
            # Nobody waits for it any more.
            return

    async def _send(self, request: httpx.Request, body: bytes) -> httpx.Response:
        self._turn = (self._turn + 1) % len(self._servers)
        server = self._servers[self._turn]
        url = request.url.copy_with(host=server.host, port=server.port)
        sent = httpx.Request(
            request.method, url, headers=request.headers, content=body, extensions=request.extensions
        )
        return await self._inner.handle_async_request(sent)
