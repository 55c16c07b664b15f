"""The connection pool and its ways of use. Which SQL runs is the use cases' affair.

``jsonb`` columns are written and read as plain Python values, structs included. Times come back as aware
``datetime``; ``clock_timestamp()`` is the only clock (DESIGN decision 6).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from edgeproof.server.db.listener import Listener, WakeUps
from edgeproof.server.db.notifier import Notifier, begin_collecting, collected
from edgeproof.server.db.turns import RUNS_CHANNEL, Turn

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
"""What a query runs on: a connection inside a transaction, as ``Database.transaction`` gives it."""

POOL_SIZE: Final = 16

_PLANNED: Final = {"jit": "off", "random_page_cost": "1.1"}
"""Our statements are short and find rows by index: compiling them takes longer than running them, and as the
planner's default is for a turning disk, it reads a small table whole, also one that is hot and grows."""

AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg raises when a connection is cut between two of its steps
)
"""The database is gone, starting, ending, full or in a knot: the same request may succeed later."""


class Database:
    """A pool on one database, and one ``LISTEN`` connection. Belongs to one event loop."""

    def __init__(self, pool: asyncpg.Pool, listener: Listener) -> None:
        self.pool = pool
        self._listener = listener
        self._notifier = Notifier(pool, counted=frozenset({RUNS_CHANNEL}))

    @classmethod
    async def open(cls, dsn: str) -> Database:
        """Raises ``OSError`` or ``asyncpg.PostgresError`` when the database cannot be reached."""
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=POOL_SIZE,
            init=_prepare,
            reset=_leave_as_it_is,
            server_settings=_PLANNED,
        )
        return cls(pool, Listener(dsn))

    async def close(self) -> None:
        await self._notifier.close()
        await self._listener.close()
        await self.pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """READ COMMITTED; commits on leaving, rolls back on any exception. Then notifications go out."""
        token = begin_collecting()
        try:
            async with self.pool.acquire() as connection, connection.transaction():
                yield connection
        except BaseException:
            collected(token)
            raise
        self._notifier.send(collected(token))

    async def answers(self, seconds: float) -> bool:
        """Whether the pool has a connection, and the database an answer, within ``seconds`` each."""
        try:
            async with self.pool.acquire(timeout=seconds) as connection:
                await connection.fetchval("SELECT 1", timeout=seconds)
        except (*AWAY, asyncpg.PostgresError, OSError):
            return False
        return True

    async def now(self) -> datetime:
        at: datetime = await self.pool.fetchval("SELECT clock_timestamp()")
        return at

    def listen(self, channel: str, payload: str | None = None) -> AbstractAsyncContextManager[WakeUps]:
        """``async with database.listen("channel") as wake_ups: await wake_ups.wait(seconds)``."""
        return self._listener.subscribe(channel, payload)

    def wait_for_runs(self, keys: frozenset[str]) -> AbstractAsyncContextManager[Turn]:
        """A turn among the runners that wait: one of them is called for each run that begins to wait."""
        return self._listener.take_turn(keys)

    def look(self, turn: Turn) -> None:
        """``turn`` asks the database now: calls that come from here on wake it again."""
        self._listener.look(turn)

    def change_keys(self, turn: Turn, keys: frozenset[str]) -> bool:
        """``turn`` waits for the runs of ``keys`` from now on; whether that is news: it looks again."""
        return self._listener.change_keys(turn, keys)


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: msgspec.json.encode(value).decode(),
        decoder=msgspec.json.decode,
    )


async def _leave_as_it_is(_: Any) -> None:
    """No query here leaves state in its session: a round trip to wipe it would double the cost of a read.

    asyncpg rolls back by itself what is left open.
    """


async def lock(connection: Connection, name: str) -> None:
    """Hold the lock called ``name`` until the transaction ends; waits for its holder."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", name)
