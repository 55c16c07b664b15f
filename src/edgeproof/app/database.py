"""The database of ``edgeproof up``: the owner's own, or an embedded one that is ours to start again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from edgeproof.app.serve import DATABASE_VARIABLE
from edgeproof.contract.errors import Refused, Unavailable
from edgeproof.server.postgres import EmbeddedPostgres, PostgresError


class GroundDatabase(Protocol):
    """``ended`` returns once the database has ended by itself; ``start`` returns its address."""

    async def start(self) -> str: ...

    async def ended(self) -> None: ...


class OwnersDatabase:
    """Somebody else's to keep alive: its absence is weather."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def start(self) -> str:
        return self._dsn

    async def ended(self) -> None:
        await asyncio.Event().wait()


class EmbeddedDatabase:
    """Ours. Its address may change with every start."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres = postgres

    async def start(self) -> str:
        """Raises ``Refused`` (``already_running``) or ``Unavailable``; it may be tried again."""
        try:
            return (await self._postgres.start()).dsn()
        except PostgresError as error:
            if error.code == "postgres_already_running":
                raise Refused("already_running", str(error)) from error
            raise Unavailable("unavailable", str(error)) from error

    async def ended(self) -> None:
        if self._postgres.pid is not None:
            await self._postgres.wait()


@asynccontextmanager
async def ground_database(data_dir: Path) -> AsyncIterator[GroundDatabase]:
    """What ``EDGEPROOF_DATABASE_URL`` names, else an embedded one, not started yet; stopped on leaving."""
    own = os.environ.get(DATABASE_VARIABLE)
    if own:
        yield OwnersDatabase(own)
        return
    postgres = EmbeddedPostgres(data_dir / "postgres")
    try:
        yield EmbeddedDatabase(postgres)
    finally:
        await postgres.stop()
