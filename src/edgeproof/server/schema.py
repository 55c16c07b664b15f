"""The declared database schema: what the sum of all migrations must equal (a test compares them).

It is declared for Alembic and for readers; queries are plain SQL next to the use case that needs them.
Every time is ``timestamptz`` by the database's own clock (DESIGN decision 6).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP

metadata: Final = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    }
)

_TIME = TIMESTAMP(timezone=True)


def _text(name: str, *args: Any) -> Column[Any]:
    return Column(name, Text, *args, nullable=False)


def _now(name: str) -> Column[Any]:
    return Column(name, _TIME, nullable=False, server_default=text("clock_timestamp()"))


def _one_of(column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


# --- who may ------------------------------------------------------------------------------------

Table(
    "principals",
    metadata,
    Column("principal_id", Text, primary_key=True),
    _text("kind"),
    _text("name"),
    _text("token_digest"),
    _now("created_at"),
    Column("revoked_at", _TIME),
    UniqueConstraint("token_digest"),
    _one_of("kind", "admin", "user", "external"),
)

Table(
    "enrolment_tokens",
    metadata,
    Column("token_digest", Text, primary_key=True),
    Column("uses_left", Integer, nullable=False),
    Column("expires_at", _TIME, nullable=False),
    _text("created_by"),
    _now("created_at"),
    CheckConstraint("uses_left >= 0", name="uses_left"),
)

Table(
    "server_secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    _now("created_at"),
)

# The views `good_keys` and `good_runners` (migration 0008) say which of these are good now: listed, not
# removed, not rotated out. Every statement that asks, asks them.
Table(
    "runner_keys",
    metadata,
    Column("public_key", Text, primary_key=True),
    _text("added_by"),
    _now("added_at"),
    Column("removed_at", _TIME),
    Column("runner_id", Text, index=True),
    Column("source", Text, nullable=False, server_default=text("'admin'")),
    Column("good_until", _TIME),
    Column("removed_by", Text),
    Column("removed_reason", Text),
    Column("compromised_since", _TIME),
    _one_of("source", "admin", "enrolment", "static"),
    CheckConstraint(
        "removed_at IS NOT NULL"
        " OR (removed_by IS NULL AND removed_reason IS NULL AND compromised_since IS NULL)",
        name="removed",
    ),
)

Table(
    "runners",
    metadata,
    Column("runner_id", Text, primary_key=True),
    _text("public_key"),
    _text("hostname"),
    Column("capabilities", JSONB, nullable=False),
    _now("registered_at"),
    _now("last_seen_at"),
    Column("standing", Text, nullable=False, server_default=text("'active'")),
    Column("standing_reason", Text, nullable=False, server_default=text("''")),
    Column("standing_by", Text),
    _now("standing_since"),
    Column("strikes", Integer, nullable=False, server_default=text("0")),
    UniqueConstraint("public_key"),
    _one_of("standing", "active", "draining", "quarantined"),
    postgresql_with={"fillfactor": 70},
)

Table(
    "spent_nonces",
    metadata,
    Column("nonce_digest", Text, primary_key=True),
    Column("expires_at", _TIME, nullable=False, index=True),
)

# --- what is kept -------------------------------------------------------------------------------

Table(
    "policies",
    metadata,
    Column("digest", Text, primary_key=True),
    _text("name"),
    Column("version", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    _text("added_by"),
    _now("added_at"),
    UniqueConstraint("name", "version"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    _now("created_at"),
    Column("expires_at", _TIME),
    # A small document's bytes; null for what lies in the store. Not compressed: it is signed text.
    Column("body", LargeBinary),
    CheckConstraint("size >= 0", name="size"),
)
Index("artifacts_expires_at_idx", artifacts.c.expires_at, postgresql_where=text("expires_at IS NOT NULL"))

Table(
    "uploads",
    metadata,
    _text("principal_id"),
    _text("digest", ForeignKey("artifacts.digest", ondelete="CASCADE")),
    _now("created_at"),
    PrimaryKeyConstraint("principal_id", "digest"),
    Index(None, "digest"),
)

# --- jobs ---------------------------------------------------------------------------------------

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    _text("owner_id"),
    _text("workflow"),
    _text("status"),
    Column("input_summary", JSONB, nullable=False),
    Column("worker_request", JSONB),
    Column("result", JSONB),
    # What a page of jobs shows of it, so that a listing need not open every result.
    Column("result_summary", JSONB, Computed("result -> 'summary'", persisted=True)),
    Column("result_decision", JSONB, Computed("result -> 'deployment_decision'", persisted=True)),
    Column("error", JSONB),
    _text("policy_digest"),
    Column("cancel_requested_at", _TIME),
    _now("created_at"),
    _now("updated_at"),
    Column("reported_at", Text),  # when its worker says that it ended; only shown (DESIGN, invariants)
    Column("needs_advance", Boolean, nullable=False, server_default=text("false")),
    Column("retry_of", Text, ForeignKey("jobs.job_id")),
    UniqueConstraint("seq"),
    UniqueConstraint("retry_of"),
    _one_of("status", "queued", "running", "completed", "failed", "cancelled"),
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
    _text("job_id", ForeignKey("jobs.job_id")),
    Column("seq", BigInteger, nullable=False),
    _text("type"),
    _now("at"),
    Column("data", JSONB, nullable=False),
    PrimaryKeyConstraint("job_id", "seq"),
    Index("job_events_at_idx", "at", postgresql_using="brin"),
    _one_of("type", "status", "progress", "log", "artifact", "metadata"),
)

Table(
    "job_artifacts",
    metadata,
    _text("job_id", ForeignKey("jobs.job_id")),
    _text("digest", ForeignKey("artifacts.digest")),
    _text("role"),
    PrimaryKeyConstraint("job_id", "digest", "role"),
    Index(None, "digest"),
)

# A decision that rests on evidence of a key known to be compromised: the job stays as it ended.
Table(
    "job_withdrawals",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.job_id"), primary_key=True),
    _text("reason"),
    _text("runner_key"),
    Column("compromised_since", _TIME, nullable=False),
    _text("withdrawn_by"),
    _now("withdrawn_at"),
)

Table(
    "idempotency",
    metadata,
    _text("owner_id"),
    _text("key"),
    _text("request_digest"),
    _text("job_id", ForeignKey("jobs.job_id")),
    _now("created_at"),
    PrimaryKeyConstraint("owner_id", "key"),
    Index("idempotency_created_at_idx", "created_at", postgresql_using="brin"),
)

# --- results ------------------------------------------------------------------------------------

runtime_results = Table(
    "runtime_results",
    metadata,
    Column("result_id", Text, primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    _text("owner_id"),
    _text("digest"),
    _text("basis"),
    _text("source"),
    Column("job_id", Text, ForeignKey("jobs.job_id")),
    Column("role", Text),
    _text("model"),
    _text("engine"),
    _text("device"),
    _text("precision"),
    Column("batch", Integer),
    Column("height", Integer),
    Column("width", Integer),
    _text("compare_key"),
    _text("backend_key"),
    _text("pair_key"),
    Column("dry_run", Boolean, nullable=False),
    Column("numbers", JSONB, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("measured_at", _TIME, nullable=False),
    _now("created_at"),
    UniqueConstraint("seq"),
    UniqueConstraint("job_id", "role"),
    _one_of("basis", "signed", "unsigned"),
    _one_of("source", "posted", "measured", "worker"),
    CheckConstraint("(source = 'posted') = (job_id IS NULL)", name="job"),
    CheckConstraint("(job_id IS NULL) = (role IS NULL)", name="role"),
    Index("runtime_results_owner_id_seq_idx", "owner_id", "seq"),
    Index("runtime_results_digest_idx", "digest"),
    Index("runtime_results_newest_idx", "owner_id", "measured_at", "seq"),
    Index("runtime_results_pair_idx", "owner_id", "pair_key", "measured_at", "seq"),
)
Index(
    "runtime_results_posted_idx",
    runtime_results.c.owner_id,
    runtime_results.c.digest,
    unique=True,
    postgresql_where=text("source = 'posted'"),
)

Table(
    "result_keys",
    metadata,
    _text("owner_id"),
    _text("key"),
    _text("digest"),
    _now("created_at"),
    PrimaryKeyConstraint("owner_id", "key"),
)

# --- the run queue ------------------------------------------------------------------------------

Table(
    "requirement_classes",
    metadata,
    Column("class_id", Integer, Identity(always=True), primary_key=True),
    _text("digest"),
    Column("needs", JSONB, nullable=False),
    Column("stage", Text, Computed("needs ->> 'stage'", persisted=True)),
    UniqueConstraint("digest"),
)

Table(
    "runner_classes",
    metadata,
    _text("runner_id", ForeignKey("runners.runner_id")),
    Column("class_id", Integer, ForeignKey("requirement_classes.class_id"), nullable=False),
    PrimaryKeyConstraint("runner_id", "class_id"),
    Index(None, "class_id"),
)

Table(
    "runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    _text("job_id", ForeignKey("jobs.job_id")),
    _text("stage"),
    _text("role"),
    Column("class_id", Integer, ForeignKey("requirement_classes.class_id"), nullable=False),
    Column("config", JSONB, nullable=False),
    Column("limits", JSONB, nullable=False),
    _now("created_at"),
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
    _now("queued_at"),
    Column("state", Text, nullable=False, server_default=text("'PENDING'")),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("max_attempts", Integer, nullable=False, server_default=text("3")),
    Column("runner_id", Text),
    Column("lease_digest", Text),
    Column("lease_expires_at", _TIME),
    Column("claimed_at", _TIME),
    Column("started_at", _TIME),
    Column("progress", JSONB),
    Column("status_text", Text),
    Column("job_spec_digest", Text),
    Column("runner_key", Text),
    ForeignKeyConstraint(["run_id"], ["runs.run_id"]),
    _one_of("state", "PENDING", "CLAIMED"),
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
    _text("state"),
    Column("attempt", Integer, nullable=False),
    Column("lease_digest", Text),
    Column("runner_id", Text),
    Column("evidence_digest", Text),
    Column("submission_digest", Text),
    Column("failure", JSONB),
    _now("finished_at"),
    # Failed for want of attempts: the dead letters.
    Column("exhausted", Boolean, nullable=False, server_default=text("false")),
    Column("runner_key", Text),
    ForeignKeyConstraint(["run_id"], ["runs.run_id"]),
    _one_of("state", "COMPLETE", "FAILED", "CANCELLED"),
)
Index(
    "run_outcomes_exhausted_idx",
    run_outcomes.c.finished_at,
    run_outcomes.c.run_id,
    postgresql_where=text("exhausted"),
)

# --- a run's numbers ----------------------------------------------------------------------------

Table(
    "run_model_metrics",
    metadata,
    _text("run_id", ForeignKey("runs.run_id")),
    _text("row_key"),
    _text("model_id"),
    _text("model_name"),
    _text("precision"),
    _text("backend"),
    _text("target"),
    _text("basis"),
    Column("score", Double),
    Column("score_metric", Text),
    Column("mean_ms", Double),
    Column("p50_ms", Double),
    Column("p95_ms", Double),
    Column("p99_ms", Double),
    Column("samples", BigInteger),
    Column("samples_per_second", Double),
    Column("tokens_per_second", Double),
    Column("time_to_first_token_ms", Double),
    Column("energy_joules", Double),
    Column("wall_seconds", Double),
    Column("peak_memory_bytes", BigInteger),
    Column("artifact_size_bytes", BigInteger),
    PrimaryKeyConstraint("run_id", "row_key"),
    _one_of("basis", "measured", "estimated", "simulated"),
)

Table(
    "run_hardware_metrics",
    metadata,
    _text("run_id", ForeignKey("runs.run_id")),
    _text("row_key"),
    _text("device_kind"),
    _text("device_name"),
    _text("basis"),
    Column("memory_bytes", BigInteger),
    Column("peak_memory_bytes", BigInteger),
    Column("temperature_c", Double),
    Column("throttle_events", BigInteger),
    Column("power_limit_w", Double),
    Column("energy_joules", Double),
    Column("energy_source", Text),
    Column("wall_seconds", Double),
    PrimaryKeyConstraint("run_id", "row_key"),
    _one_of("basis", "measured", "estimated", "simulated"),
)

# --- tidying up ---------------------------------------------------------------------------------

Table(
    "chores",
    metadata,
    Column("name", Text, primary_key=True),
    Column("began_at", _TIME, nullable=False),
)

# --- who did what -------------------------------------------------------------------------------

# Append-only: triggers refuse every change (migration 0008). `xid` is the transaction that wrote the entry.
Table(
    "audit_log",
    metadata,
    Column("entry_id", BigInteger, Identity(always=True), primary_key=True),
    Column(
        "xid",
        BigInteger,
        nullable=False,
        server_default=text("pg_current_xact_id()::text::bigint"),
        index=True,
    ),
    _now("at"),
    _text("actor"),
    _text("act"),
    _text("subject"),
    Column("data", JSONB, nullable=False, server_default=text("'{}'")),
)

Table(
    "audit_seals",
    metadata,
    Column("seal", BigInteger, primary_key=True, autoincrement=False),
    Column("at", _TIME, nullable=False),
    Column("entry_ids", ARRAY(BigInteger), nullable=False),
    Column("digests", LargeBinary, nullable=False),
    Column("entries", BigInteger, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("through_xid", BigInteger, nullable=False),
    Column("floor_entry", BigInteger, nullable=False),
)
