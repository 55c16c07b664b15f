"""The run queue, and how runs ended."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from edgeproof.server.schema.columns import TIME, metadata, now_column, one_of, text_column

Table(
    "requirement_classes",
    metadata,
    Column("class_id", Integer, Identity(always=True), primary_key=True),
    text_column("digest"),
    Column("needs", JSONB, nullable=False),
    Column("stage", Text, Computed("needs ->> 'stage'", persisted=True)),
    Column("resting", Boolean, nullable=False, server_default=text("false")),
    UniqueConstraint("digest"),
)

Table(
    "runner_classes",
    metadata,
    text_column("runner_id", ForeignKey("runners.runner_id")),
    Column("class_id", Integer, ForeignKey("requirement_classes.class_id"), nullable=False),
    PrimaryKeyConstraint("runner_id", "class_id"),
    Index(None, "class_id"),
)

Table(
    "runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    text_column("job_id", ForeignKey("jobs.job_id")),
    text_column("stage"),
    text_column("role"),
    Column("class_id", Integer, ForeignKey("requirement_classes.class_id"), nullable=False),
    Column("config", JSONB, nullable=False),
    Column("limits", JSONB, nullable=False),
    now_column("created_at"),
    Index(None, "job_id"),
)

# Only unfinished runs: a finished one leaves for run_outcomes in the same transaction.
run_queue = Table(
    "run_queue",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("class_id", Integer, nullable=False),
    Column("assigned_runner_id", Text),
    Column("priority", Integer, nullable=False, server_default=text("100")),
    now_column("queued_at"),
    Column("state", Text, nullable=False, server_default=text("'PENDING'")),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("max_attempts", Integer, nullable=False, server_default=text("3")),
    Column("runner_id", Text),
    Column("lease_digest", Text),
    Column("lease_expires_at", TIME),
    Column("claimed_at", TIME),
    Column("started_at", TIME),
    Column("progress", JSONB),
    Column("status_text", Text),
    Column("job_spec_digest", Text),
    Column("runner_key", Text),
    Column("claim_number", BigInteger),
    ForeignKeyConstraint(["run_id"], ["runs.run_id"]),
    one_of("state", "PENDING", "CLAIMED"),
    CheckConstraint(
        "(state = 'CLAIMED') = (runner_id IS NOT NULL AND lease_digest IS NOT NULL"
        " AND lease_expires_at IS NOT NULL)",
        name="lease",
    ),
    # Room for heartbeats on the same page, and no index on what they write (HOT updates).
    postgresql_with={"fillfactor": 60},
)
# Two, so that runs which name one runner never stand in the way of the others' claims.
Index(
    "run_queue_pending_idx",
    run_queue.c.class_id,
    run_queue.c.priority,
    run_queue.c.queued_at,
    run_queue.c.run_id,
    postgresql_where=text("state = 'PENDING' AND assigned_runner_id IS NULL"),
)
Index(
    "run_queue_assigned_idx",
    run_queue.c.assigned_runner_id,
    run_queue.c.class_id,
    run_queue.c.priority,
    run_queue.c.queued_at,
    run_queue.c.run_id,
    postgresql_where=text("state = 'PENDING' AND assigned_runner_id IS NOT NULL"),
)
Index("run_queue_runner_idx", run_queue.c.runner_id, postgresql_where=text("state = 'CLAIMED'"))

run_outcomes = Table(
    "run_outcomes",
    metadata,
    Column("run_id", Text, primary_key=True),
    text_column("state"),
    Column("attempt", Integer, nullable=False),
    Column("lease_digest", Text),
    Column("runner_id", Text),
    Column("evidence_digest", Text),
    Column("submission_digest", Text),
    Column("failure", JSONB),
    now_column("finished_at"),
    # Failed for want of attempts: the dead letters.
    Column("exhausted", Boolean, nullable=False, server_default=text("false")),
    Column("runner_key", Text),
    ForeignKeyConstraint(["run_id"], ["runs.run_id"]),
    one_of("state", "COMPLETE", "FAILED", "CANCELLED"),
)
Index(
    "run_outcomes_exhausted_idx",
    run_outcomes.c.finished_at,
    run_outcomes.c.run_id,
    postgresql_where=text("exhausted"),
)
