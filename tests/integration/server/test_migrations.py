"""The migrated schema equals the declared one, whoever migrates and however many at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from edgeproof.contract.errors import Unavailable
from edgeproof.server.migrations import FOLDER, HEAD, migrate
from edgeproof.server.schema import metadata

COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text,
       pg_get_expr(d.adbin, d.adrelid)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
"""
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
"""
INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"


async def catalog(dsn: str) -> dict[str, set[tuple[object, ...]]]:
    """All that PostgreSQL knows about our tables, except Alembic's own."""
    connection = await asyncpg.connect(dsn)
    try:
        return {
            query: {tuple(row) for row in await connection.fetch(query) if row[0] != "alembic_version"}
            for query in (COLUMNS, CONSTRAINTS, INDEXES)
        }
    finally:
        await connection.close()


async def declare(dsn: str) -> None:
    dialect = postgresql.dialect()
    connection = await asyncpg.connect(dsn)
    try:
        for table in metadata.sorted_tables:
            await connection.execute(str(CreateTable(table).compile(dialect=dialect)))
            for index in table.indexes:
                await connection.execute(str(CreateIndex(index).compile(dialect=dialect)))
    finally:
        await connection.close()


async def test_migrated_schema_equals_the_declared_one(fresh_dsn: str, empty_dsn: str) -> None:
    await declare(empty_dsn)
    migrated, declared = await catalog(fresh_dsn), await catalog(empty_dsn)
    for query, rows in declared.items():
        assert rows, "the comparison would compare nothing"
        assert migrated[query] == rows


async def test_concurrent_migrators_migrate_once(empty_dsn: str) -> None:
    await asyncio.gather(*(migrate(empty_dsn) for _ in range(4)))
    connection = await asyncpg.connect(empty_dsn)
    assert [row[0] for row in await connection.fetch("SELECT version_num FROM alembic_version")] == [HEAD]
    await connection.close()


async def test_migrating_again_keeps_what_is_there(empty_dsn: str) -> None:
    await migrate(empty_dsn)
    connection = await asyncpg.connect(empty_dsn)
    await connection.execute("INSERT INTO server_secrets (name, secret) VALUES ('kept', '\\x00')")
    await migrate(empty_dsn)
    assert await connection.fetchval("SELECT name FROM server_secrets") == "kept"
    await connection.close()


async def test_a_failed_migration_leaves_nothing(empty_dsn: str) -> None:
    connection = await asyncpg.connect(empty_dsn)
    await connection.execute("CREATE TABLE run_queue (in_the_way int)")
    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(empty_dsn)
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert [row[0] for row in tables] == ["run_queue"]
    await connection.close()


async def test_a_database_of_a_newer_release_is_refused(empty_dsn: str) -> None:
    await migrate(empty_dsn)
    connection = await asyncpg.connect(empty_dsn)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Unavailable, match="newer Edgeproof"):
        await migrate(empty_dsn)
    await connection.close()


def test_head_is_the_only_head_and_the_folder_is_packaged() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]
    assert Path(FOLDER, "env.py").is_file()
