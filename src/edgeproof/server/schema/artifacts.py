"""What is kept: policies, artifacts, who uploaded them; and what the store is being asked to delete."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from edgeproof.server.schema.columns import TIME, metadata, now_column, text_column

Table(
    "policies",
    metadata,
    Column("digest", Text, primary_key=True),
    text_column("name"),
    Column("version", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    text_column("added_by"),
    now_column("added_at"),
    UniqueConstraint("name", "version"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    now_column("created_at"),
    Column("expires_at", TIME),
    # A small document's bytes; null for what lies in the store. Not compressed: it is signed text.
    Column("body", LargeBinary),
    CheckConstraint("size >= 0", name="size"),
)
Index("artifacts_expires_at_idx", artifacts.c.expires_at, postgresql_where=text("expires_at IS NOT NULL"))

Table(
    "uploads",
    metadata,
    text_column("principal_id"),
    text_column("digest", ForeignKey("artifacts.digest", ondelete="CASCADE")),
    now_column("created_at"),
    PrimaryKeyConstraint("principal_id", "digest"),
    Index(None, "digest"),
)

# Bytes, not rows: there from before a DELETE is sent to the store until it was answered.
Table("artifact_deletions", metadata, Column("digest", Text, primary_key=True), now_column("began_at"))
