"""Whose key a lease and an outcome rest on, how keys come and go, withdrawn decisions, and the audit log.

Frozen: a later change is a later migration. Statements are separated by empty lines.
"""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0008"
down_revision: Final = "0007"

_STATEMENTS: Final = """
ALTER TABLE runner_keys
    ADD COLUMN runner_id TEXT,
    ADD COLUMN source TEXT DEFAULT 'admin' NOT NULL,
    ADD COLUMN good_until TIMESTAMPTZ,
    ADD COLUMN removed_by TEXT,
    ADD COLUMN removed_reason TEXT,
    ADD COLUMN compromised_since TIMESTAMPTZ,
    ADD CONSTRAINT runner_keys_source_check CHECK (source IN ('admin', 'enrolment', 'static')),
    ADD CONSTRAINT runner_keys_removed_check CHECK (
        removed_at IS NOT NULL
        OR (removed_by IS NULL AND removed_reason IS NULL AND compromised_since IS NULL)
    );

UPDATE runner_keys SET runner_id = runners.runner_id FROM runners
WHERE runners.public_key = runner_keys.public_key;

CREATE INDEX runner_keys_runner_id_idx ON runner_keys (runner_id);

CREATE VIEW good_keys AS
    SELECT public_key, runner_id FROM runner_keys
    WHERE removed_at IS NULL AND (good_until IS NULL OR good_until > clock_timestamp());

CREATE VIEW good_runners AS
    SELECT runner_id, public_key, capabilities FROM runners
    WHERE EXISTS (SELECT FROM good_keys WHERE good_keys.runner_id = runners.runner_id);

ALTER TABLE run_queue ADD COLUMN runner_key TEXT;

ALTER TABLE run_outcomes ADD COLUMN runner_key TEXT;

UPDATE run_queue SET runner_key = runners.public_key FROM runners
WHERE runners.runner_id = run_queue.runner_id;

UPDATE run_outcomes SET runner_key = runners.public_key FROM runners
WHERE runners.runner_id = run_outcomes.runner_id;

CREATE TABLE job_withdrawals (
    job_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    runner_key TEXT NOT NULL,
    compromised_since TIMESTAMPTZ NOT NULL,
    withdrawn_by TEXT NOT NULL,
    withdrawn_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT job_withdrawals_pkey PRIMARY KEY (job_id),
    CONSTRAINT job_withdrawals_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs (job_id)
);

CREATE TABLE audit_log (
    entry_id BIGINT GENERATED ALWAYS AS IDENTITY,
    xid BIGINT DEFAULT pg_current_xact_id()::text::bigint NOT NULL,
    at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    actor TEXT NOT NULL,
    act TEXT NOT NULL,
    subject TEXT NOT NULL,
    data JSONB DEFAULT '{}' NOT NULL,
    CONSTRAINT audit_log_pkey PRIMARY KEY (entry_id)
);

CREATE INDEX audit_log_xid_idx ON audit_log (xid);

CREATE TABLE audit_seals (
    seal BIGINT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    entry_ids BIGINT[] NOT NULL,
    digests BYTEA NOT NULL,
    entries BIGINT NOT NULL,
    head BYTEA NOT NULL,
    signature BYTEA NOT NULL,
    through_xid BIGINT NOT NULL,
    floor_entry BIGINT NOT NULL,
    CONSTRAINT audit_seals_pkey PRIMARY KEY (seal)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only';
END
$$;

CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER audit_seals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    for statement in _STATEMENTS.strip().split("\n\n"):
        op.execute(statement.removesuffix(";"))
