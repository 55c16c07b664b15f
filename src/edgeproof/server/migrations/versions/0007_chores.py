"""Whose turn it is to tidy up, and quick ways to what is old. Frozen, as every migration.

BRIN, for these tables only grow at their end: the index costs an insert next to nothing.
"""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0007"
down_revision: Final = "0006"

_STATEMENTS: Final = """
CREATE TABLE chores (
    name TEXT NOT NULL,
    began_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT chores_pkey PRIMARY KEY (name)
);

CREATE INDEX job_events_at_idx ON job_events USING brin (at);

CREATE INDEX idempotency_created_at_idx ON idempotency USING brin (created_at);
"""


def upgrade() -> None:
    for statement in _STATEMENTS.strip().split("\n\n"):
        op.execute(statement.removesuffix(";"))
