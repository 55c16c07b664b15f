"""Requirement classes that nothing waits in, and that no claim need look at. Frozen, as every migration."""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0009"
down_revision: Final = "0008"

_STATEMENT: Final = "ALTER TABLE requirement_classes ADD COLUMN resting BOOLEAN DEFAULT false NOT NULL"


def upgrade() -> None:
    op.execute(_STATEMENT)
