"""The run queue's SQL, named. Every statement that reads or moves a run is here and nowhere else.

Locks are taken in one order: a run's queue row, then its job's row, then artifacts. Whoever already holds
a job's row takes queue rows only with ``SKIP LOCKED``; so no two use cases can wait for each other.
"""

from __future__ import annotations

from typing import Final

RUNS_CHANNEL: Final = "edgeproof_runs"
"""Notified when a run begins to wait; the payload is its class."""

ADD_RUN: Final = """
WITH run AS (
    INSERT INTO runs (run_id, job_id, stage, role, class_id, config, limits)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
)
INSERT INTO run_queue (run_id, class_id, assigned_runner_id, priority, max_attempts)
VALUES ($1, $5, $8, $9, $10)
"""

WAKE_RUNNERS: Final = f"SELECT pg_notify('{RUNS_CHANNEL}', $1::integer::text)"

# Two index probes a class: runs for anybody, and runs that name this runner. The order of the heads is the
# order in which they are tried.
HEADS: Final = """
SELECT head.class_id, head.named
FROM runner_classes rc
CROSS JOIN LATERAL (
    (SELECT class_id, false AS named, priority, queued_at, run_id FROM run_queue
     WHERE class_id = rc.class_id AND state = 'PENDING' AND assigned_runner_id IS NULL
     ORDER BY priority, queued_at, run_id LIMIT 1)
    UNION ALL
    (SELECT class_id, true, priority, queued_at, run_id FROM run_queue
     WHERE class_id = rc.class_id AND state = 'PENDING' AND assigned_runner_id = $1
     ORDER BY priority, queued_at, run_id LIMIT 1)
) head
WHERE rc.runner_id = $1
ORDER BY head.priority, head.queued_at, head.run_id
"""

LOCK_HEAD: Final = """
SELECT q.run_id, q.attempt, q.class_id, q.runner_id, r.job_id, r.stage, r.role
FROM run_queue q JOIN runs r USING (run_id)
WHERE q.class_id = $1 AND q.state = 'PENDING' AND q.assigned_runner_id IS NULL
ORDER BY q.priority, q.queued_at, q.run_id
LIMIT 1
FOR UPDATE OF q SKIP LOCKED
"""

LOCK_NAMED_HEAD: Final = """
SELECT q.run_id, q.attempt, q.class_id, q.runner_id, r.job_id, r.stage, r.role
FROM run_queue q JOIN runs r USING (run_id)
WHERE q.class_id = $1 AND q.state = 'PENDING' AND q.assigned_runner_id = $2
ORDER BY q.priority, q.queued_at, q.run_id
LIMIT 1
FOR UPDATE OF q SKIP LOCKED
"""

LEASE: Final = """
UPDATE run_queue SET
    state = 'CLAIMED', attempt = attempt + 1, runner_id = $2, lease_digest = $3,
    claimed_at = clock_timestamp(),
    lease_expires_at = clock_timestamp() + make_interval(secs => $4),
    started_at = NULL, progress = NULL, status_text = NULL, job_spec_digest = NULL
WHERE run_id = $1 AND state = 'PENDING'
RETURNING attempt, claimed_at, lease_expires_at
"""

SET_JOB_SPEC: Final = "UPDATE run_queue SET job_spec_digest = $2 WHERE run_id = $1"

# The fence, in each of the next three: run, state, attempt, token and runner; no row is a stale lease.

HEARTBEAT: Final = """
UPDATE run_queue q SET
    lease_expires_at = clock_timestamp() + make_interval(secs => $5),
    started_at = coalesce(q.started_at, clock_timestamp()),
    progress = coalesce($6, q.progress),
    status_text = coalesce($7, q.status_text)
FROM run_queue before, runs r, jobs j
WHERE q.run_id = $1 AND q.state = 'CLAIMED' AND q.attempt = $2 AND q.lease_digest = $3 AND q.runner_id = $4
  AND q.lease_expires_at > clock_timestamp()
  AND before.run_id = q.run_id AND r.run_id = q.run_id AND j.job_id = r.job_id
RETURNING q.lease_expires_at, r.job_id, r.stage, r.role,
    before.progress IS DISTINCT FROM q.progress AS moved,
    j.cancel_requested_at IS NOT NULL OR j.status NOT IN ('queued', 'running') AS cancel_requested
"""

# Without a lock: what a submission is checked against before the fence decides.
LEASED_RUN: Final = """
SELECT r.job_id, r.stage, r.role, q.job_spec_digest
FROM run_queue q JOIN runs r USING (run_id)
WHERE q.run_id = $1 AND q.state = 'CLAIMED' AND q.attempt = $2 AND q.lease_digest = $3 AND q.runner_id = $4
"""

LOCK_LEASED: Final = """
SELECT q.run_id, q.attempt, q.max_attempts, q.class_id, q.runner_id, q.lease_digest,
    r.job_id, r.stage, r.role
FROM run_queue q JOIN runs r USING (run_id)
WHERE q.run_id = $1 AND q.state = 'CLAIMED' AND q.attempt = $2 AND q.lease_digest = $3 AND q.runner_id = $4
FOR UPDATE OF q
"""

LOCK_EXPIRED: Final = """
SELECT q.run_id, q.attempt, q.max_attempts, q.class_id, q.runner_id, q.lease_digest,
    r.job_id, r.stage, r.role
FROM run_queue q JOIN runs r USING (run_id)
WHERE q.state = 'CLAIMED' AND q.lease_expires_at <= $1
ORDER BY q.lease_expires_at
LIMIT 1
FOR UPDATE OF q SKIP LOCKED
"""

LOCK_ABANDONED: Final = """
SELECT q.run_id, q.attempt, q.max_attempts, q.class_id, q.runner_id, q.lease_digest,
    r.job_id, r.stage, r.role
FROM run_queue q JOIN runs r USING (run_id)
WHERE q.state = 'CLAIMED' AND q.runner_id = $1 AND q.run_id <> ALL($2::text[])
LIMIT 1
FOR UPDATE OF q SKIP LOCKED
"""

LEASE_COUNTS: Final = """
SELECT clock_timestamp() AS now, count(*) AS leased,
    count(*) FILTER (WHERE lease_expires_at <= clock_timestamp()) AS expired
FROM run_queue WHERE state = 'CLAIMED'
"""

REQUEUE: Final = """
UPDATE run_queue SET state = 'PENDING', runner_id = NULL, lease_digest = NULL, lease_expires_at = NULL,
    claimed_at = NULL, started_at = NULL, progress = NULL, status_text = NULL, job_spec_digest = NULL
WHERE run_id = $1
"""

LOCK_PENDING: Final = """
SELECT run_id FROM run_queue WHERE run_id = $1 AND state = 'PENDING' FOR UPDATE SKIP LOCKED
"""

LEAVE_QUEUE: Final = "DELETE FROM run_queue WHERE run_id = $1"

STORE_OUTCOME: Final = """
INSERT INTO run_outcomes
    (run_id, state, attempt, lease_digest, runner_id, evidence_digest, submission_digest, failure)
SELECT run_id, $2, attempt, lease_digest, runner_id, $3, $4, $5 FROM run_queue WHERE run_id = $1
"""

OUTCOME: Final = """
SELECT state, attempt, lease_digest, runner_id, evidence_digest, submission_digest
FROM run_outcomes WHERE run_id = $1
"""

RUNS_OF_JOB: Final = """
SELECT r.run_id, r.stage, r.role, coalesce(o.state, q.state) AS state,
    coalesce(o.attempt, q.attempt) AS attempt, coalesce(o.runner_id, q.runner_id) AS runner_id,
    q.progress, q.assigned_runner_id, r.class_id, o.evidence_digest, o.failure
FROM runs r
LEFT JOIN run_queue q USING (run_id)
LEFT JOIN run_outcomes o USING (run_id)
WHERE r.job_id = $1
ORDER BY r.created_at, r.run_id
"""

# One JSON text per job ``j``, so that a page of jobs needs no query of its own for each. ``fits``: a runner
# that may come is known to be able, or the run does not wait.
RUNS_AS_SHOWN: Final = """
(SELECT json_agg(json_build_object(
    'run_id', r.run_id, 'stage', r.stage, 'role', r.role,
    'state', coalesce(o.state, q.state), 'attempt', coalesce(o.attempt, q.attempt),
    'runner_id', coalesce(o.runner_id, q.runner_id), 'progress', q.progress,
    'class_id', r.class_id, 'assigned_runner_id', q.assigned_runner_id,
    'fits', q.state IS DISTINCT FROM 'PENDING' OR EXISTS (
        SELECT FROM runner_classes JOIN runners USING (runner_id) JOIN runner_keys USING (public_key)
        WHERE class_id = r.class_id AND removed_at IS NULL
            AND (q.assigned_runner_id IS NULL OR runner_id = q.assigned_runner_id)
    )
) ORDER BY r.created_at, r.run_id)
FROM runs r LEFT JOIN run_queue q USING (run_id) LEFT JOIN run_outcomes o USING (run_id)
WHERE r.job_id = j.job_id)::text
"""

RUN_FOR_SPEC: Final = "SELECT config, limits FROM runs WHERE run_id = $1"
