"""The first migration: every table of issue 2, principals included (DESIGN decision 7).

Frozen: a later change is a later migration. Statements are separated by empty lines.
"""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0001"
down_revision: Final = None

_STATEMENTS: Final = """
CREATE TABLE artifacts (
    digest TEXT NOT NULL,
    size BIGINT NOT NULL,
    created_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    expires_at TIMESTAMPTZ,
    CONSTRAINT artifacts_pkey PRIMARY KEY (digest),
    CONSTRAINT artifacts_size_check CHECK (size >= 0)
);

CREATE INDEX artifacts_expires_at_idx ON artifacts (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE enrolment_tokens (
    token_digest TEXT NOT NULL,
    uses_left INTEGER NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    created_by TEXT NOT NULL,
    created_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT enrolment_tokens_pkey PRIMARY KEY (token_digest),
    CONSTRAINT enrolment_tokens_uses_left_check CHECK (uses_left >= 0)
);

CREATE TABLE jobs (
    job_id TEXT NOT NULL,
    seq BIGINT GENERATED ALWAYS AS IDENTITY,
    owner_id TEXT NOT NULL,
    workflow TEXT NOT NULL,
    status TEXT NOT NULL,
    input_summary JSONB NOT NULL,
    worker_request JSONB,
    result JSONB,
    error JSONB,
    policy_digest TEXT NOT NULL,
    cancel_requested_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    needs_advance BOOLEAN DEFAULT false NOT NULL,
    CONSTRAINT jobs_pkey PRIMARY KEY (job_id),
    CONSTRAINT jobs_seq_key UNIQUE (seq),
    CONSTRAINT jobs_status_check CHECK (status IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    CONSTRAINT jobs_result_check CHECK (result IS NULL OR status = 'completed'),
    CONSTRAINT jobs_error_check CHECK ((error IS NOT NULL) = (status = 'failed'))
);

CREATE INDEX jobs_needs_advance_idx ON jobs (seq) WHERE needs_advance;

CREATE INDEX jobs_owner_id_seq_idx ON jobs (owner_id, seq);

CREATE TABLE policies (
    digest TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    body BYTEA NOT NULL,
    added_by TEXT NOT NULL,
    added_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT policies_pkey PRIMARY KEY (digest),
    CONSTRAINT policies_name_version_key UNIQUE (name, version)
);

CREATE TABLE principals (
    principal_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    token_digest TEXT NOT NULL,
    created_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    revoked_at TIMESTAMPTZ,
    CONSTRAINT principals_pkey PRIMARY KEY (principal_id),
    CONSTRAINT principals_token_digest_key UNIQUE (token_digest),
    CONSTRAINT principals_kind_check CHECK (kind IN ('admin', 'user', 'external'))
);

CREATE TABLE requirement_classes (
    class_id INTEGER GENERATED ALWAYS AS IDENTITY,
    digest TEXT NOT NULL,
    needs JSONB NOT NULL,
    CONSTRAINT requirement_classes_pkey PRIMARY KEY (class_id),
    CONSTRAINT requirement_classes_digest_key UNIQUE (digest)
);

CREATE TABLE runner_keys (
    public_key TEXT NOT NULL,
    added_by TEXT NOT NULL,
    added_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    removed_at TIMESTAMPTZ,
    CONSTRAINT runner_keys_pkey PRIMARY KEY (public_key)
);

CREATE TABLE runners (
    runner_id TEXT NOT NULL,
    public_key TEXT NOT NULL,
    hostname TEXT NOT NULL,
    capabilities JSONB NOT NULL,
    registered_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    last_seen_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT runners_pkey PRIMARY KEY (runner_id),
    CONSTRAINT runners_public_key_key UNIQUE (public_key)
);

CREATE TABLE server_secrets (
    name TEXT NOT NULL,
    secret BYTEA NOT NULL,
    created_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT server_secrets_pkey PRIMARY KEY (name)
);

CREATE TABLE spent_nonces (
    nonce_digest TEXT NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT spent_nonces_pkey PRIMARY KEY (nonce_digest)
);

CREATE INDEX spent_nonces_expires_at_idx ON spent_nonces (expires_at);

CREATE TABLE idempotency (
    owner_id TEXT NOT NULL,
    key TEXT NOT NULL,
    request_digest TEXT NOT NULL,
    job_id TEXT NOT NULL,
    created_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT idempotency_pkey PRIMARY KEY (owner_id, key),
    CONSTRAINT idempotency_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs (job_id)
);

CREATE TABLE job_artifacts (
    job_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    role TEXT NOT NULL,
    CONSTRAINT job_artifacts_pkey PRIMARY KEY (job_id, digest, role),
    CONSTRAINT job_artifacts_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs (job_id),
    CONSTRAINT job_artifacts_digest_fkey FOREIGN KEY (digest) REFERENCES artifacts (digest)
);

CREATE INDEX job_artifacts_digest_idx ON job_artifacts (digest);

CREATE TABLE job_events (
    job_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    type TEXT NOT NULL,
    at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    data JSONB NOT NULL,
    CONSTRAINT job_events_pkey PRIMARY KEY (job_id, seq),
    CONSTRAINT job_events_type_check CHECK (type IN ('status', 'progress', 'log', 'artifact', 'metadata')),
    CONSTRAINT job_events_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs (job_id)
);

CREATE TABLE runner_classes (
    runner_id TEXT NOT NULL,
    class_id INTEGER NOT NULL,
    CONSTRAINT runner_classes_pkey PRIMARY KEY (runner_id, class_id),
    CONSTRAINT runner_classes_runner_id_fkey FOREIGN KEY (runner_id) REFERENCES runners (runner_id),
    CONSTRAINT runner_classes_class_id_fkey FOREIGN KEY (class_id) REFERENCES requirement_classes (class_id)
);

CREATE INDEX runner_classes_class_id_idx ON runner_classes (class_id);

CREATE TABLE runs (
    run_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    stage TEXT NOT NULL,
    role TEXT NOT NULL,
    class_id INTEGER NOT NULL,
    config JSONB NOT NULL,
    limits JSONB NOT NULL,
    created_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT runs_pkey PRIMARY KEY (run_id),
    CONSTRAINT runs_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs (job_id),
    CONSTRAINT runs_class_id_fkey FOREIGN KEY (class_id) REFERENCES requirement_classes (class_id)
);

CREATE INDEX runs_job_id_idx ON runs (job_id);

CREATE TABLE uploads (
    principal_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    created_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT uploads_pkey PRIMARY KEY (principal_id, digest),
    CONSTRAINT uploads_digest_fkey FOREIGN KEY (digest) REFERENCES artifacts (digest) ON DELETE CASCADE
);

CREATE INDEX uploads_digest_idx ON uploads (digest);

CREATE TABLE run_outcomes (
    run_id TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    lease_digest TEXT,
    runner_id TEXT,
    evidence_digest TEXT,
    submission_digest TEXT,
    failure JSONB,
    finished_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT run_outcomes_pkey PRIMARY KEY (run_id),
    CONSTRAINT run_outcomes_run_id_fkey FOREIGN KEY (run_id) REFERENCES runs (run_id),
    CONSTRAINT run_outcomes_state_check CHECK (state IN ('COMPLETE', 'FAILED', 'CANCELLED'))
);

CREATE TABLE run_queue (
    run_id TEXT NOT NULL,
    class_id INTEGER NOT NULL,
    assigned_runner_id TEXT,
    priority INTEGER DEFAULT 100 NOT NULL,
    queued_at TIMESTAMPTZ DEFAULT clock_timestamp() NOT NULL,
    state TEXT DEFAULT 'PENDING' NOT NULL,
    attempt INTEGER DEFAULT 0 NOT NULL,
    max_attempts INTEGER DEFAULT 3 NOT NULL,
    runner_id TEXT,
    lease_digest TEXT,
    lease_expires_at TIMESTAMPTZ,
    claimed_at TIMESTAMPTZ,
    started_at TIMESTAMPTZ,
    progress JSONB,
    status_text TEXT,
    job_spec_digest TEXT,
    CONSTRAINT run_queue_pkey PRIMARY KEY (run_id),
    CONSTRAINT run_queue_run_id_fkey FOREIGN KEY (run_id) REFERENCES runs (run_id),
    CONSTRAINT run_queue_state_check CHECK (state IN ('PENDING', 'CLAIMED')),
    CONSTRAINT run_queue_lease_check CHECK (
        (state = 'CLAIMED')
        = (runner_id IS NOT NULL AND lease_digest IS NOT NULL AND lease_expires_at IS NOT NULL)
    )
);

CREATE INDEX run_queue_runner_idx ON run_queue (runner_id) WHERE state = 'CLAIMED';
CREATE INDEX run_queue_leases_idx ON run_queue (lease_expires_at) WHERE state = 'CLAIMED';

CREATE INDEX run_queue_pending_idx ON run_queue (class_id, priority, queued_at, run_id)
    WHERE state = 'PENDING' AND assigned_runner_id IS NULL;

CREATE INDEX run_queue_assigned_idx
    ON run_queue (assigned_runner_id, class_id, priority, queued_at, run_id)
    WHERE state = 'PENDING' AND assigned_runner_id IS NOT NULL;
"""


def upgrade() -> None:
    for statement in _STATEMENTS.strip().split("\n\n"):
        op.execute(statement.removesuffix(";"))
