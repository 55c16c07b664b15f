"""Runtime results, signed or posted."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from edgeproof.server.schema.columns import TIME, metadata, now_column, one_of, text_column

runtime_results = Table(
    "runtime_results",
    metadata,
    Column("result_id", Text, primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    text_column("owner_id"),
    text_column("digest"),
    text_column("basis"),
    text_column("source"),
    Column("job_id", Text, ForeignKey("jobs.job_id")),
    Column("role", Text),
    text_column("model"),
    text_column("engine"),
    text_column("device"),
    text_column("precision"),
    Column("batch", Integer),
    Column("height", Integer),
    Column("width", Integer),
    text_column("compare_key"),
    text_column("backend_key"),
    text_column("pair_key"),
    Column("dry_run", Boolean, nullable=False),
    Column("numbers", JSONB, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("measured_at", TIME, nullable=False),
    now_column("created_at"),
    UniqueConstraint("seq"),
    UniqueConstraint("job_id", "role"),
    one_of("basis", "signed", "unsigned"),
    one_of("source", "posted", "measured", "worker"),
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
    text_column("owner_id"),
    text_column("key"),
    text_column("digest"),
    now_column("created_at"),
    PrimaryKeyConstraint("owner_id", "key"),
)
