"""A registered session: proves the key, and proves it again when the short-lived token ran out.

The token's end never ends a lease (DESIGN decision 10): a call that meets an expired token is repeated
once after a new registration.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, TypeVar

from edgeproof.client.exchange import NotOurs, RetryPolicy
from edgeproof.contract.envelope import PublicKey, SigningKey
from edgeproof.contract.errors import Refused, Unavailable
from edgeproof.contract.log_ids import about
from edgeproof.contract.runners import Capabilities
from edgeproof.runner.port import ControlPlane

_log = logging.getLogger(__name__)
T = TypeVar("T")

BACKOFF: Final = RetryPolicy(base_seconds=1.0, cap_seconds=30.0)
"""A fleet that lost its control plane comes back spread over up to half a minute (full jitter)."""


class Session:
    """One runner's standing with one control plane."""

    def __init__(
        self,
        control_plane: ControlPlane,
        key: SigningKey,
        capabilities: Capabilities,
        enrolment_token: str | None,
        backoff: RetryPolicy = BACKOFF,
    ) -> None:
        self.control_plane = control_plane
        self.key = key
        self.capabilities = capabilities
        self.runner_id: str | None = None
        self.last_contact: datetime | None = None
        """When the control plane last answered, by this device's clock: for people to read."""
        self._enrolment_token = enrolment_token
        self._backoff = backoff
        self._server_key: PublicKey | None = None
        self._registrations = 0
        self._away = False
        """Whether the last call found no control plane."""
        self._registering = asyncio.Lock()

    async def server_key(self) -> PublicKey:
        if self._server_key is None:
            await self.open()
        assert self._server_key is not None
        return self._server_key

    async def open(self) -> None:
        registered = await self.control_plane.register(self.key, self.capabilities, self._enrolment_token)
        self._server_key = PublicKey.from_base64(registered.server_key)
        self.runner_id = registered.runner_id
        self._registrations += 1
        self._heard()
        with about(runner_id=self.runner_id):
            _log.info("registered with control plane %s", self._server_key.fingerprint)

    async def call(self, ask: Callable[[], Awaitable[T]]) -> T:
        """``ask()``, with one new registration when the token has run out.

        Raises ``Refused`` for what the control plane says of ``ask`` itself, and ``key_not_allowed``. That
        the token cannot be renewed for another reason, or that, once registered, somebody else answers, is
        ``Unavailable``.
        """
        try:
            return await self._call(ask)
        except Unavailable:
            self._away = True
            raise
        except NotOurs as error:
            if not self._registrations:
                raise
            self._away = True
            raise _away("server_unreachable", error.detail, error) from error

    async def _call(self, ask: Callable[[], Awaitable[T]]) -> T:
        known = self._registrations
        try:
            answer = await ask()
            self._heard()
            return answer
        except Refused as error:
            if not isinstance(error, NotOurs):
                self._heard()
            if error.code != "unauthenticated":
                raise
        async with self._registering:
            if self._registrations == known:  # else another call has renewed it meanwhile
                await self._renew()
        return await ask()

    async def _renew(self) -> None:
        try:
            await self.open()
        except NotOurs:
            raise
        except Refused as error:
            if error.code == "key_not_allowed" or not self._registrations:
                raise
            raise _away("unavailable", f"the token is not renewed: {error}", error) from error

    async def persist(
        self,
        ask: Callable[[], Awaitable[T]],
        stop: asyncio.Event | None = None,
        *,
        patience: float = math.inf,
    ) -> T:
        """``call``, repeated with jittered backoff while the control plane is unavailable.

        Ends with the last ``Unavailable`` once ``stop`` is set or ``patience`` seconds have passed. A call
        under way is cancelled when ``stop`` is set; the control plane may have heard it all the same.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + patience
        failures = 0
        while True:
            try:
                return await self._call_unless(stop, ask)
            except Unavailable as error:
                if clock() > deadline or _is_set(stop):
                    raise
                _log.warning("control plane unavailable (%s), trying again", error)
                await pause(self._backoff.delay(failures, error.retry_after), stop)
                if _is_set(stop):
                    raise
                failures += 1

    async def _call_unless(self, stop: asyncio.Event | None, ask: Callable[[], Awaitable[T]]) -> T:
        if stop is None:
            return await self.call(ask)
        calling = asyncio.create_task(self.call(ask))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({calling, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            # No effect on an answer that is here already.
            calling.cancel()
            await asyncio.gather(calling, stopping, return_exceptions=True)
        if calling.cancelled():
            raise Unavailable("unavailable", "no answer until this runner was asked to stop")
        return calling.result()

    async def rest(self, stop: asyncio.Event) -> None:
        """A random share of the longest backoff, or until ``stop`` is set."""
        await pause(self._backoff.cap_seconds * self._backoff.jitter(), stop)

    def _heard(self) -> None:
        self.last_contact = datetime.now(UTC)
        if self._away:
            self._away = False
            _log.info("control plane answers again")


def _away(code: str, detail: str, cause: Refused) -> Unavailable:
    away = Unavailable(code, detail)
    away.retry_after = cause.retry_after
    return away


def _is_set(stop: asyncio.Event | None) -> bool:
    return stop is not None and stop.is_set()


async def pause(seconds: float, stop: asyncio.Event | None) -> None:
    """Until ``stop`` is set, at most ``seconds``."""
    if stop is None:
        await asyncio.sleep(seconds)
        return
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
