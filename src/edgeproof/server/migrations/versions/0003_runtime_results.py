"""Runtime results that are kept: posted ones, and those of the fleet."""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0003"
down_revision: Final = "0002"

_STATEMENTS: Final = """
CREATE TABLE runtime_results (
    result_id TEXT NOT NULL,
    seq BIGINT GENERATED ALWAYS AS IDENTITY,
    owner_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    basis TEXT NOT NULL,
    source TEXT NOT NULL,
    job_id TEXT,
    role TEXT,
    model TEXT NOT NULL,
    engine TEXT NOT NULL,
    device TEXT NOT NULL,
    precision TEXT NOT NULL,
    batch INTEGER,
    height INTEGER,
    width INTEGER,
    compare_key TEXT NOT NULL,
    backend_key TEXT NOT NULL,
    pair_key TEXT NOT NULL,
    dry_run BOOLEAN NOT NULL,
    numbers JSONB NOT NULL,
    body BYTEA NOT NULL,
    measured_at TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT runtime_results_pkey PRIMARY KEY (result_id),
    CONSTRAINT runtime_results_seq_key UNIQUE (seq),
    CONSTRAINT runtime_results_job_id_role_key UNIQUE (job_id, role),
    CONSTRAINT runtime_results_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs (job_id),
    CONSTRAINT runtime_results_basis_check CHECK (basis IN ('signed', 'unsigned')),
    CONSTRAINT runtime_results_source_check CHECK (source IN ('posted', 'measured', 'worker')),
    CONSTRAINT runtime_results_job_check CHECK ((source = 'posted') = (job_id IS NULL)),
    CONSTRAINT runtime_results_role_check CHECK ((job_id IS NULL) = (role IS NULL))
);

CREATE INDEX runtime_results_owner_id_seq_idx ON runtime_results (owner_id, seq);

CREATE INDEX runtime_results_digest_idx ON runtime_results (digest);

CREATE INDEX runtime_results_newest_idx ON runtime_results (owner_id, measured_at, seq);

CREATE INDEX runtime_results_pair_idx ON runtime_results (owner_id, pair_key, measured_at, seq);

CREATE UNIQUE INDEX runtime_results_posted_idx ON runtime_results (owner_id, digest) WHERE source = 'posted';

CREATE TABLE result_keys (
    owner_id TEXT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    created_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT result_keys_pkey PRIMARY KEY (owner_id, key)
);
"""


def upgrade() -> None:
    for statement in _STATEMENTS.strip().split("\n\n"):
        op.execute(statement)
