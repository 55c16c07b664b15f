"""When an enrolment token was revoked. Frozen, as every migration."""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0011"
down_revision: Final = "0010"

_STATEMENT: Final = "ALTER TABLE enrolment_tokens ADD COLUMN revoked_at TIMESTAMPTZ"


def upgrade() -> None:
    op.execute(_STATEMENT)
