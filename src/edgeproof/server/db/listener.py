"""One ``LISTEN`` connection per process, fanned out to everybody who waits (DESIGN decision 1).

A wake-up is a hint, never a fact: several may come as one, one may come without a cause, and one may be
lost while the connection is away. Whoever waits asks the database again, also when nothing woke them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from edgeproof.server.db.turns import RUNS_CHANNEL, Turn, Turns

_logger = logging.getLogger(__name__)
_RECONNECT_SECONDS: Final = 0.5
_PROBE_SECONDS: Final = 30.0
"""How often a connection that says nothing is asked whether it is still there: behind a path that fell silent
nobody would ever be woken again."""
_PROBE_TIMEOUT: Final = 5.0
_AWAY: Final = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    TimeoutError,
)


class WakeUps:
    """One waiter's view of a channel."""

    def __init__(self, payload: str | None) -> None:
        self._payload = payload
        self._event = asyncio.Event()

    def notify(self, payload: str | None) -> None:
        """Wake the waiter if ``payload`` is the awaited one; None wakes always."""
        if payload is None or self._payload is None or payload == self._payload:
            self._event.set()

    async def wait(self, timeout: float) -> bool:
        """Whether a wake-up came since the last call, within ``timeout`` seconds."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout)
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Listener:
    """Connects on first use, again whenever the connection is lost or says nothing, until closed."""

    def __init__(
        self, dsn: str, probe_seconds: float = _PROBE_SECONDS, probe_timeout: float = _PROBE_TIMEOUT
    ) -> None:
        self._dsn = dsn
        self._probe_seconds = probe_seconds
        self._probe_timeout = probe_timeout
        self._waiters: dict[str, set[WakeUps]] = {}
        self._turns = Turns()
        self._connection: asyncpg.Connection | None = None
        self._listening: set[str] = set()
        self._lost = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._closed = False

    @asynccontextmanager
    async def subscribe(self, channel: str, payload: str | None = None) -> AsyncIterator[WakeUps]:
        """Wake-ups of ``channel`` from now on; with ``payload``, only those that carry exactly it.

        Does not fail when the database is away: the waiter polls, and finds out.
        """
        waiter = WakeUps(payload)
        self._waiters.setdefault(channel, set()).add(waiter)
        try:
            await self._ensure(channel)
            yield waiter
        finally:
            # The channel stays listened to: the next waiter comes soon, and there are few channels.
            self._waiters[channel].discard(waiter)

    @asynccontextmanager
    async def take_turn(self, keys: frozenset[str]) -> AsyncIterator[Turn]:
        """A place among those who wait for runs; see ``turns``. Fails as little as ``subscribe``."""
        self._waiters.setdefault(RUNS_CHANNEL, set())
        turn = self._turns.join(keys)
        try:
            await self._ensure(RUNS_CHANNEL)
            yield turn
        finally:
            self._turns.leave(turn)

    def look(self, turn: Turn) -> None:
        self._turns.look(turn)

    def change_keys(self, turn: Turn, keys: frozenset[str]) -> bool:
        return self._turns.change_keys(turn, keys)

    async def close(self) -> None:
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _ensure(self, channel: str) -> None:
        async with self._lock:
            if self._keeper is None:
                self._keeper = asyncio.create_task(self._keep())
            try:
                if self._connection is None:
                    await self._connect()
                elif channel not in self._listening:
                    await self._connection.add_listener(channel, self._notified)
                    self._listening.add(channel)
            except _AWAY as error:
                _logger.warning("the LISTEN connection is away: %s", error)
                self._drop()

    async def _connect(self) -> None:
        connection: asyncpg.Connection = await asyncpg.connect(self._dsn)
        connection.add_termination_listener(self._terminated)
        self._listening = set(self._waiters)
        try:
            for channel in self._listening:
                await connection.add_listener(channel, self._notified)
        except BaseException:
            connection.terminate()
            raise
        self._lost.clear()
        self._connection = connection

    def _notified(self, _connection: Any, _pid: int, channel: str, payload: object) -> None:
        if channel == RUNS_CHANNEL:
            self._turns.call(str(payload))
        for waiter in self._waiters.get(channel, ()):
            waiter.notify(str(payload))

    def _terminated(self, connection: Any) -> None:
        if connection is self._connection:
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            self._connection.terminate()
        self._connection = None
        self._lost.set()

    async def _keep(self) -> None:
        while not self._closed:
            try:
                await asyncio.wait_for(self._lost.wait(), self._probe_seconds)
            except TimeoutError:
                await self._probe()
                continue
            async with self._lock:
                try:
                    if self._connection is None:
                        await self._connect()
                except _AWAY as error:
                    _logger.warning("the LISTEN connection is away: %s", error)
            if self._connection is None:
                await asyncio.sleep(_RECONNECT_SECONDS)
                continue
            for waiters in self._waiters.values():
                for waiter in waiters:
                    waiter.notify(None)
            self._turns.call_all()

    async def _probe(self) -> None:
        async with self._lock:
            if self._connection is None:
                return
            try:
                await self._connection.fetchval("SELECT 1", timeout=self._probe_timeout)
            except _AWAY as error:
                _logger.warning("the LISTEN connection does not answer: %s", error or type(error).__name__)
                self._drop()
