"""By which of its runner's claims a lease was given. Frozen, as every migration."""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0010"
down_revision: Final = "0009"

_STATEMENT: Final = "ALTER TABLE run_queue ADD COLUMN claim_number BIGINT"


def upgrade() -> None:
    op.execute(_STATEMENT)
