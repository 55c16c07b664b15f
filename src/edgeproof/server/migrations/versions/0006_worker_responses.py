"""When an external worker says that its job ended (seed 000: the job's ``updated_at``). Text: only shown."""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0006"
down_revision: Final = "0005"


def upgrade() -> None:
    op.execute("ALTER TABLE jobs ADD COLUMN reported_at TEXT")
