"""Whose bytes the store is being asked to delete. Frozen, as every migration."""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0012"
down_revision: Final = "0011"

_STATEMENT: Final = """
CREATE TABLE artifact_deletions (
    digest TEXT NOT NULL,
    began_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT artifact_deletions_pkey PRIMARY KEY (digest)
)
"""


def upgrade() -> None:
    op.execute(_STATEMENT)
