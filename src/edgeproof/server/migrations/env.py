"""Alembic's entry: renders revisions as SQL. It never connects; ``migrate`` does."""

from __future__ import annotations

from alembic import context

context.configure(
    dialect_name="postgresql", transactional_ddl=False, output_buffer=context.config.output_buffer
)
context.run_migrations()
