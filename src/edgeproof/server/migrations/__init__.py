"""Brings a database to the newest schema at start-up, once, however many replicas start together.

Alembic renders the missing revisions as SQL and asyncpg runs them, in one transaction under an advisory
lock: a failure leaves the schema as it was. There is no way down.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import asyncpg

from edgeproof.contract.errors import Unavailable

#: The newest revision; a test holds it equal to what the folder says.
HEAD: Final = "0012"
FOLDER: Final = Path(__file__).parent
LOCK: Final = 0x6564_6765_7072_6F6F  # "edgeproo"; only its being constant matters


async def migrate(dsn: str) -> None:
    """Bring the database to ``HEAD``. Does nothing when it is there.

    Waits for another migrator for as long as that one lives. Raises ``Unavailable`` when a newer Edgeproof
    has migrated it further, and what asyncpg raises.
    """
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            current = await _current(connection)
            if current is not None and current > HEAD:
                raise Unavailable("unavailable", f"the database is at {current}, of a newer Edgeproof")
            if current != HEAD:
                await connection.execute(upgrade_sql(current))
    finally:
        await connection.close()


async def _current(connection: asyncpg.Connection) -> str | None:
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    return revision


def upgrade_sql(current: str | None) -> str:
    """All statements from ``current`` (None: an empty database) to ``HEAD``, Alembic's own row included."""
    # Imported here: an up-to-date database, the usual one, then starts without SQLAlchemy and Alembic.
    from alembic.command import upgrade
    from alembic.config import Config

    written = io.StringIO()
    config = Config(output_buffer=written)
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    upgrade(config, f"{current or 'base'}:{HEAD}", sql=True)
    return written.getvalue()
