"""Listings of jobs stay quick however many there are. Frozen, as every migration."""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0004"
down_revision: Final = "0003"

_STATEMENTS: Final = """
ALTER TABLE jobs
    ADD COLUMN result_summary JSONB GENERATED ALWAYS AS (result -> 'summary') STORED,
    ADD COLUMN result_decision JSONB GENERATED ALWAYS AS (result -> 'deployment_decision') STORED;

CREATE INDEX jobs_owner_id_status_seq_idx ON jobs (owner_id, status, seq);

CREATE INDEX jobs_status_seq_idx ON jobs (status, seq);
"""


def upgrade() -> None:
    for statement in _STATEMENTS.strip().split("\n\n"):
        op.execute(statement.removesuffix(";"))
