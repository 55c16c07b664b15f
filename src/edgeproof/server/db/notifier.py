"""Tells the other replicas, and ourselves, what a transaction made due: after its commit, many at once.

PostgreSQL lets only one transaction at a time commit with a notification, its wait for the disk included;
one that does nothing else has nothing to wait for. What a crash loses here, the waiters' polling finds.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextvars import ContextVar, Token
from typing import Final

import asyncpg

_logger = logging.getLogger(__name__)
_NOTIFY: Final = (
    "SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS due (channel, payload)"
)
_COUNTED: Final = "SELECT pg_notify($1, $2)"

Due = Counter[tuple[str, str]]
_due: ContextVar[Due | None] = ContextVar("edgeproof_notifications", default=None)


def begin_collecting() -> Token[Due | None]:
    """Notifications of this task are kept from now on, until ``collected``."""
    return _due.set(Counter())


def collected(token: Token[Due | None]) -> Due:
    due = _due.get() or Counter()
    _due.reset(token)
    return due


async def notify(
    connection: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy, channel: str, payload: str
) -> None:
    """Wake the waiters of ``channel`` once the transaction of ``connection`` has committed.

    Outside ``Database.transaction`` PostgreSQL's own way is taken, which keeps the same promise.
    """
    due = _due.get()
    if due is None:
        await connection.execute(_COUNTED, channel, payload)
    else:
        due[channel, payload] += 1


class Notifier:
    """Sends what is due, one statement at a time; what comes meanwhile goes with the next."""

    def __init__(self, pool: asyncpg.Pool, counted: frozenset[str]) -> None:
        """On the channels in ``counted`` the payload says how many there were: ``<payload> <count>``."""
        self._pool = pool
        self._counted = counted
        self._due: Due = Counter()
        self._sending: asyncio.Task[None] | None = None

    def send(self, due: Due) -> None:
        if not due:
            return
        self._due.update(due)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())

    async def close(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    async def _send(self) -> None:
        while self._due:
            due, self._due = self._due, Counter()
            channels = [channel for channel, _ in due]
            payloads = [
                f"{payload} {count}" if channel in self._counted else payload
                for (channel, payload), count in due.items()
            ]
            try:
                await self._pool.execute(_NOTIFY, channels, payloads)
            except (
                OSError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                asyncpg.InternalClientError,
            ) as error:
                _logger.warning("could not wake whoever waits; they will look by themselves: %s", error)
