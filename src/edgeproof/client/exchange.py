"""One request and its answer: problems become errors, lost connections are retried where that is safe.

A request is repeated after a broken exchange only if it is idempotent; a request that never left
(connection refused) is repeated always.
"""

from __future__ import annotations

import asyncio
import random
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import httpx
import msgspec

from edgeproof.client.address import ServerAddress
from edgeproof.client.network_settings import settings_named
from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import EdgeproofError, Problem, Refused, Unavailable, from_problem
from edgeproof.contract.jobs import Health

HEALTH: Final = "/health"
JSON: Final = {"Content-Type": "application/json"}
RETRIED_STATUS: Final = frozenset({408, 429, 502, 503, 504})
CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 60.0
"""Longer than the longest long poll (30 s) and than the server's keep-alive comments (15 s)."""

LONGEST_WISH_SECONDS: Final = 120.0
"""A longer ``Retry-After`` is cut to this: no server, and nobody between, keeps a runner away for long."""

_TOKEN: Final = re.compile(r"[!-~]+")

T = TypeVar("T")

Body = bytes | Callable[[], AsyncIterator[bytes]] | None
"""A stream is given as the function that begins it anew, so that it can be repeated."""


@dataclass(frozen=True)
class RetryPolicy:
    """Full jitter: before attempt ``n + 1`` a random share of ``base * 2**n``, at most ``cap`` seconds.

    What the server asked for with ``Retry-After`` comes before that share, so that those who were all sent
    away at once do not all come back at once.
    """

    attempts: int = 4
    base_seconds: float = 0.2
    cap_seconds: float = 5.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random

    def delay(self, attempt: int, asked: float | None = None) -> float:
        """Seconds to wait after the failed ``attempt``, counted from 0; ``asked`` is the server's wish."""
        ceiling: float = min(self.cap_seconds, self.base_seconds * 2.0 ** min(attempt, 30))
        return min(asked or 0.0, LONGEST_WISH_SECONDS) + ceiling * self.jitter()

    async def pause(self, attempt: int, asked: float | None = None) -> None:
        await self.sleep(self.delay(attempt, asked))


class NeverSent(Unavailable):
    """The connection could not be made: the server saw nothing of this request."""


class NotOurs(Refused):
    """An answer that no control plane gives: a wrong address, or somebody between who stumbles.

    Whoever typed the address is told at once; whoever knows that it is right may ask again.
    """


class Exchange:
    """An httpx client bound to one address and one bearer token. ``token`` may be replaced at any time."""

    def __init__(
        self,
        address: ServerAddress,
        token: str | None,
        retry: RetryPolicy,
        transport: httpx.AsyncBaseTransport | None = None,
        ca_file: str | None = None,
    ) -> None:
        self.address = address
        self.token = token
        self.retry = retry
        self._pin_held = address.pinned_keyid is None
        with settings_named():
            self._http = httpx.AsyncClient(
                base_url=address.url,
                timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
                limits=httpx.Limits(max_connections=20),
                transport=transport,
                trust_env=not address.is_loopback,
                verify=_trust(ca_file),
            )

    async def close(self) -> None:
        await self._http.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        idempotent: bool,
    ) -> httpx.Response:
        """The whole answer, 2xx only. Raises what the problem says, or ``server_unreachable``."""
        attempt = 0
        while True:
            try:
                async with self.stream(method, path, body=body, headers=headers, query=query) as response:
                    await response.aread()
                return response
            except EdgeproofError as error:
                attempt += 1
                asked = error.retry_after
                if attempt >= self.retry.attempts or not may_repeat(error, idempotent):
                    raise
            await self.retry.pause(attempt - 1, asked)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """One attempt; the 2xx answer's body is still to be read. Errors as ``send``."""
        if path != HEALTH:
            await self._demand_pinned_key()
        sent = dict(headers or {})
        if self.token and path != HEALTH:
            if not _TOKEN.fullmatch(self.token):
                raise Refused("unauthenticated", "the token has white space or signs that no token has")
            sent["Authorization"] = f"Bearer {self.token}"
        content = body() if callable(body) else body
        try:
            async with self._http.stream(
                method, path, content=content, headers=sent, params=dict(query or {})
            ) as response:
                if not response.is_success:
                    raise _problem(response, await response.aread())
                yield response
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    async def _demand_pinned_key(self) -> None:
        """Before anything is told to a server it must name the key that it is expected to have."""
        if self._pin_held:
            return
        async with self.stream("GET", HEALTH) as response:
            await response.aread()
            self.check_pin(PublicKey.from_base64(decoded(response, Health).server_key))
        self._pin_held = True

    def check_pin(self, key: PublicKey) -> None:
        """Raises ``Refused`` (``server_key_mismatch``) when another key was pinned."""
        pinned = self.address.pinned_keyid
        if pinned is not None and key.keyid != pinned:
            raise Refused("server_key_mismatch", f"pinned sha256:{pinned}, found {key.fingerprint}")

    def _unreachable(self, error: httpx.TransportError) -> Unavailable:
        words = f"{self.address.url}: {str(error) or type(error).__name__}"
        never_sent = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
        return (NeverSent if never_sent else Unavailable)("server_unreachable", words)


def may_repeat(error: EdgeproofError, idempotent: bool) -> bool:
    """Whether the same request may be sent again after ``error``."""
    if isinstance(error, NeverSent):
        return True
    return idempotent and isinstance(error, Unavailable) and error.status in RETRIED_STATUS


def decoded(response: httpx.Response, type_: type[T]) -> T:
    """The typed answer. Raises ``Unavailable`` (``internal_error``) when the server broke the contract."""
    try:
        return msgspec.json.decode(response.content, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unavailable("internal_error", f"unexpected answer from {response.url.path}: {error}") from error


def _problem(response: httpx.Response, body: bytes) -> EdgeproofError:
    error = _told(response, body)
    error.retry_after = _seconds(response.headers.get("Retry-After"))
    return error


def _seconds(header: str | None) -> float | None:
    """``Retry-After`` in seconds. Its other form, a date, needs the client's clock and is passed over."""
    text = (header or "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _told(response: httpx.Response, body: bytes) -> EdgeproofError:
    try:
        return from_problem(msgspec.json.decode(body, type=Problem))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        words = f"{response.url.path} answered {response.status_code} without a problem document"
        if response.status_code in RETRIED_STATUS:
            return Unavailable("server_unreachable", words)
        if response.status_code >= 500:
            return Unavailable("internal_error", words)
        return NotOurs("invalid_request", words)


def _trust(ca_file: str | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Refused("network_settings", f"{ca_file} holds no certificates: {error}") from error
