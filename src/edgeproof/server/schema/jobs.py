"""Jobs, their runs, events and evidence."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    ForeignKey,
    Identity,
    Index,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from edgeproof.server.schema.columns import TIME, metadata, now_column, one_of, text_column

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    text_column("owner_id"),
    text_column("workflow"),
    text_column("status"),
    Column("input_summary", JSONB, nullable=False),
    Column("worker_request", JSONB),
    Column("result", JSONB),
    # What a page of jobs shows of it, so that a listing need not open every result.
    Column("result_summary", JSONB, Computed("result -> 'summary'", persisted=True)),
    Column("result_decision", JSONB, Computed("result -> 'deployment_decision'", persisted=True)),
    Column("error", JSONB),
    text_column("policy_digest"),
    Column("cancel_requested_at", TIME),
    now_column("created_at"),
    now_column("updated_at"),
    Column("reported_at", Text),  # when its worker says that it ended; only shown (DESIGN, invariants)
    Column("needs_advance", Boolean, nullable=False, server_default=text("false")),
    Column("retry_of", Text, ForeignKey("jobs.job_id")),
    UniqueConstraint("seq"),
    UniqueConstraint("retry_of"),
    one_of("status", "queued", "running", "completed", "failed", "cancelled"),
    CheckConstraint("result IS NULL OR status = 'completed'", name="result"),
    CheckConstraint("(error IS NOT NULL) = (status = 'failed')", name="error"),
    Index("jobs_owner_id_seq_idx", "owner_id", "seq"),
    Index("jobs_owner_id_status_seq_idx", "owner_id", "status", "seq"),
    Index("jobs_status_seq_idx", "status", "seq"),
)
Index("jobs_needs_advance_idx", jobs.c.seq, postgresql_where=text("needs_advance"))

Table(
    "job_events",
    metadata,
    text_column("job_id", ForeignKey("jobs.job_id")),
    Column("seq", BigInteger, nullable=False),
    text_column("type"),
    now_column("at"),
    Column("data", JSONB, nullable=False),
    PrimaryKeyConstraint("job_id", "seq"),
    Index("job_events_at_idx", "at", postgresql_using="brin"),
    one_of("type", "status", "progress", "log", "artifact", "metadata"),
)

Table(
    "job_artifacts",
    metadata,
    text_column("job_id", ForeignKey("jobs.job_id")),
    text_column("digest", ForeignKey("artifacts.digest")),
    text_column("role"),
    PrimaryKeyConstraint("job_id", "digest", "role"),
    Index(None, "digest"),
)

# A decision that rests on evidence of a key known to be compromised: the job stays as it ended.
Table(
    "job_withdrawals",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.job_id"), primary_key=True),
    text_column("reason"),
    text_column("runner_key"),
    Column("compromised_since", TIME, nullable=False),
    text_column("withdrawn_by"),
    now_column("withdrawn_at"),
)

Table(
    "idempotency",
    metadata,
    text_column("owner_id"),
    text_column("key"),
    text_column("request_digest"),
    text_column("job_id", ForeignKey("jobs.job_id")),
    now_column("created_at"),
    PrimaryKeyConstraint("owner_id", "key"),
    Index("idempotency_created_at_idx", "created_at", postgresql_using="brin"),
)
