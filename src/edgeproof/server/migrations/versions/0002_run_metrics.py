"""The rows of a run's numbers (seed 003), with several devices a run. Frozen, as every migration."""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"

_STATEMENTS: Final = """
CREATE TABLE run_model_metrics (
    run_id TEXT NOT NULL,
    row_key TEXT NOT NULL,
    model_id TEXT NOT NULL,
    model_name TEXT NOT NULL,
    precision TEXT NOT NULL,
    backend TEXT NOT NULL,
    target TEXT NOT NULL,
    basis TEXT NOT NULL,
    score DOUBLE PRECISION,
    score_metric TEXT,
    mean_ms DOUBLE PRECISION,
    p50_ms DOUBLE PRECISION,
    p95_ms DOUBLE PRECISION,
    p99_ms DOUBLE PRECISION,
    samples BIGINT,
    samples_per_second DOUBLE PRECISION,
    tokens_per_second DOUBLE PRECISION,
    time_to_first_token_ms DOUBLE PRECISION,
    energy_joules DOUBLE PRECISION,
    wall_seconds DOUBLE PRECISION,
    peak_memory_bytes BIGINT,
    artifact_size_bytes BIGINT,
    CONSTRAINT run_model_metrics_pkey PRIMARY KEY (run_id, row_key),
    CONSTRAINT run_model_metrics_run_id_fkey FOREIGN KEY (run_id) REFERENCES runs (run_id),
    CONSTRAINT run_model_metrics_basis_check CHECK (basis IN ('measured', 'estimated', 'simulated'))
);

CREATE TABLE run_hardware_metrics (
    run_id TEXT NOT NULL,
    row_key TEXT NOT NULL,
    device_kind TEXT NOT NULL,
    device_name TEXT NOT NULL,
    basis TEXT NOT NULL,
    memory_bytes BIGINT,
    peak_memory_bytes BIGINT,
    temperature_c DOUBLE PRECISION,
    throttle_events BIGINT,
    power_limit_w DOUBLE PRECISION,
    energy_joules DOUBLE PRECISION,
    energy_source TEXT,
    wall_seconds DOUBLE PRECISION,
    CONSTRAINT run_hardware_metrics_pkey PRIMARY KEY (run_id, row_key),
    CONSTRAINT run_hardware_metrics_run_id_fkey FOREIGN KEY (run_id) REFERENCES runs (run_id),
    CONSTRAINT run_hardware_metrics_basis_check CHECK (basis IN ('measured', 'estimated', 'simulated'))
);
"""


def upgrade() -> None:
    for statement in _STATEMENTS.strip().split("\n\n"):
        op.execute(statement.removesuffix(";"))
