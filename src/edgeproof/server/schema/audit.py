"""Who did what, sealed; and when it was last tidied up."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Identity, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from edgeproof.server.schema.columns import TIME, metadata, now_column, text_column

Table(
    "chores",
    metadata,
    Column("name", Text, primary_key=True),
    Column("began_at", TIME, nullable=False),
)

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
    now_column("at"),
    text_column("actor"),
    text_column("act"),
    text_column("subject"),
    Column("data", JSONB, nullable=False, server_default=text("'{}'")),
)

Table(
    "audit_seals",
    metadata,
    Column("seal", BigInteger, primary_key=True, autoincrement=False),
    Column("at", TIME, nullable=False),
    Column("entry_ids", ARRAY(BigInteger), nullable=False),
    Column("digests", LargeBinary, nullable=False),
    Column("entries", BigInteger, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("through_xid", BigInteger, nullable=False),
    Column("floor_entry", BigInteger, nullable=False),
)
