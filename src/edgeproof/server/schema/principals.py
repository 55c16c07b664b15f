"""Who may do something, and what runners there are."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Integer, LargeBinary, Table, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB

from edgeproof.server.schema.columns import TIME, metadata, now_column, one_of, text_column

Table(
    "principals",
    metadata,
    Column("principal_id", Text, primary_key=True),
    text_column("kind"),
    text_column("name"),
    text_column("token_digest"),
    now_column("created_at"),
    Column("revoked_at", TIME),
    UniqueConstraint("token_digest"),
    one_of("kind", "admin", "user", "external"),
)

Table(
    "enrolment_tokens",
    metadata,
    Column("token_digest", Text, primary_key=True),
    Column("uses_left", Integer, nullable=False),
    Column("expires_at", TIME, nullable=False),
    text_column("created_by"),
    now_column("created_at"),
    Column("revoked_at", TIME),
    CheckConstraint("uses_left >= 0", name="uses_left"),
)

Table(
    "server_secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    now_column("created_at"),
)

# The views `good_keys` and `good_runners` (migration 0008) say which of these are good now: listed, not
# removed, not rotated out. Every statement that asks, asks them.
Table(
    "runner_keys",
    metadata,
    Column("public_key", Text, primary_key=True),
    text_column("added_by"),
    now_column("added_at"),
    Column("removed_at", TIME),
    Column("runner_id", Text, index=True),
    Column("source", Text, nullable=False, server_default=text("'admin'")),
    Column("good_until", TIME),
    Column("removed_by", Text),
    Column("removed_reason", Text),
    Column("compromised_since", TIME),
    one_of("source", "admin", "enrolment", "static"),
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
    text_column("public_key"),
    text_column("hostname"),
    Column("capabilities", JSONB, nullable=False),
    now_column("registered_at"),
    now_column("last_seen_at"),
    Column("standing", Text, nullable=False, server_default=text("'active'")),
    Column("standing_reason", Text, nullable=False, server_default=text("''")),
    Column("standing_by", Text),
    now_column("standing_since"),
    Column("strikes", Integer, nullable=False, server_default=text("0")),
    UniqueConstraint("public_key"),
    one_of("standing", "active", "draining", "quarantined"),
    postgresql_with={"fillfactor": 70},
)

Table(
    "spent_nonces",
    metadata,
    Column("nonce_digest", Text, primary_key=True),
    Column("expires_at", TIME, nullable=False, index=True),
)
