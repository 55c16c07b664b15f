"""The run queue at fleet size: heartbeats that touch no index, documents in the database, runners' standing.

Frozen: a later change is a later migration. Statements are separated by empty lines.
"""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0005"
down_revision: Final = "0004"

_STATEMENTS: Final = """
DROP INDEX run_queue_leases_idx;

ALTER TABLE run_queue SET (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

ALTER TABLE runners SET (fillfactor = 70);

ALTER TABLE artifacts ADD COLUMN body BYTEA;

ALTER TABLE artifacts ALTER COLUMN body SET STORAGE EXTERNAL;

ALTER TABLE runners ADD COLUMN standing TEXT DEFAULT 'active' NOT NULL,
    ADD COLUMN standing_reason TEXT DEFAULT '' NOT NULL,
    ADD COLUMN standing_by TEXT,
    ADD COLUMN standing_since TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    ADD COLUMN strikes INTEGER DEFAULT 0 NOT NULL,
    ADD CONSTRAINT runners_standing_check CHECK (standing IN ('active', 'draining', 'quarantined'));

ALTER TABLE requirement_classes ADD COLUMN stage TEXT GENERATED ALWAYS AS (needs ->> 'stage') STORED;

ALTER TABLE run_outcomes ADD COLUMN exhausted BOOLEAN DEFAULT false NOT NULL;

CREATE INDEX run_outcomes_exhausted_idx ON run_outcomes (finished_at, run_id) WHERE exhausted;

ALTER TABLE jobs ADD COLUMN retry_of TEXT,
    ADD CONSTRAINT jobs_retry_of_fkey FOREIGN KEY (retry_of) REFERENCES jobs (job_id),
    ADD CONSTRAINT jobs_retry_of_key UNIQUE (retry_of);
"""


def upgrade() -> None:
    for statement in _STATEMENTS.strip().split("\n\n"):
        op.execute(statement.removesuffix(";"))
