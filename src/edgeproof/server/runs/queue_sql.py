"""The run queue's SQL, named. Every statement that reads or moves a run is here, or in
``delivery_sql`` if it takes results, and nowhere else.

Locks are taken in one order: a run's queue row, then its job's row, then artifacts. Whoever already holds
a job's row takes queue rows only with ``SKIP LOCKED``; so no two use cases can wait for each other.
"""

from __future__ import annotations

from typing import Final

# Columns of runs, one array each.
ADD_RUNS: Final = """
WITH run AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::jsonb[],
            $7::jsonb[], $8::text[])
        AS t (run_id, job_id, stage, role, class_id, config, limits, runner_id)
), added AS (
    INSERT INTO runs (run_id, job_id, stage, role, class_id, config, limits)
    SELECT run_id, job_id, stage, role, class_id, config, limits FROM run
)
INSERT INTO run_queue (run_id, class_id, assigned_runner_id, priority, max_attempts)
SELECT run_id, class_id, runner_id, $9, $10 FROM run
"""

# Leases for many claims at once, of as many runners: in the order in which they came, each gets up to ``$4``
# runs (a measurement: one) of the class whose head is the oldest that it may have. Those of one class get its
# oldest runs, also where the head of another is older than the last of them: that is the next round's.
#
# Parameters: runners; their keys, without which, should they be good no more, nothing waits; the claims'
# numbers: nothing waits for one that is older than a lease which the runner has by this key (each key's
# process counts its own); runs for each; the classes that each passes over, as keys (negative: their runs
# that name the runner); digests of fresh lease tokens, ``$4`` for each claim; a lease's seconds, and those by
# stage. By the claim's number one row for each lease; one row without a ``run_id`` when others hold all of
# the class ``class_id``; no row when nothing waits. Leases on runs of jobs that are ``unwanted`` are to be
# ended by the caller.
#
# Two index probes a class find the heads: runs for anybody, and runs that name the runner. The outer limit
# tells the planner that few rows are wanted: what a class is asked for it cannot know. Jobs are locked in the
# order of their ids.
_CLAIM: Final = """
WITH asked AS MATERIALIZED (
    SELECT a.*, held.measuring
    FROM unnest($1::text[], $2::text[], $3::bigint[], $5::jsonb[])
        WITH ORDINALITY AS a (runner_id, runner_key, claim_number, passed_over, number)
    JOIN runners USING (runner_id) CROSS JOIN LATERAL (
        SELECT coalesce(bool_or(stage = 'runtime'), false) AS measuring,
            coalesce(bool_or(q.runner_key = a.runner_key AND q.claim_number > a.claim_number), false) AS late
        FROM run_queue q JOIN requirement_classes USING (class_id)
        WHERE q.state = 'CLAIMED' AND q.runner_id = a.runner_id
    ) held
    WHERE standing = 'active' AND NOT held.late
      AND EXISTS (SELECT FROM good_keys WHERE public_key = a.runner_key OFFSET 0)
), best AS MATERIALIZED (
    SELECT a.number, a.runner_id, a.runner_key, a.claim_number, head.class_id, head.named,
        CASE WHEN head.named THEN a.runner_id END AS whose,
        CASE WHEN head.measures THEN 1 ELSE $4::integer END AS wanted
    FROM asked a CROSS JOIN LATERAL (
        SELECT one.*, c.stage = 'runtime' AS measures
        FROM runner_classes rc JOIN requirement_classes c USING (class_id) CROSS JOIN LATERAL (
            (SELECT class_id, false AS named, priority, queued_at, run_id FROM run_queue
             WHERE class_id = rc.class_id AND state = 'PENDING' AND assigned_runner_id IS NULL
             ORDER BY priority, queued_at, run_id LIMIT 1)
            UNION ALL
            (SELECT class_id, true, priority, queued_at, run_id FROM run_queue
             WHERE class_id = rc.class_id AND state = 'PENDING' AND assigned_runner_id = a.runner_id
             ORDER BY priority, queued_at, run_id LIMIT 1)
        ) one
        WHERE rc.runner_id = a.runner_id AND NOT (c.stage = 'runtime' AND a.measuring)
          AND NOT a.passed_over ? (CASE WHEN one.named THEN -one.class_id ELSE one.class_id END)::text
        ORDER BY one.priority, one.queued_at, one.run_id LIMIT 1
    ) head
), demand AS MATERIALIZED (
    SELECT class_id, whose, sum(wanted) AS runs FROM best GROUP BY class_id, whose
), anybodys AS MATERIALIZED (
    SELECT d.class_id, d.whose, its.*
    FROM demand d CROSS JOIN LATERAL (SELECT * FROM (
        SELECT run_id, priority, queued_at FROM run_queue
        WHERE class_id = d.class_id AND state = 'PENDING' AND assigned_runner_id IS NULL
        ORDER BY priority, queued_at, run_id LIMIT d.runs FOR UPDATE SKIP LOCKED
    ) oldest LIMIT 64) its
    WHERE d.whose IS NULL
), named AS MATERIALIZED (
    SELECT d.class_id, d.whose, its.*
    FROM demand d CROSS JOIN LATERAL (SELECT * FROM (
        SELECT run_id, priority, queued_at FROM run_queue
        WHERE class_id = d.class_id AND state = 'PENDING' AND assigned_runner_id = d.whose
        ORDER BY priority, queued_at, run_id LIMIT d.runs FOR UPDATE SKIP LOCKED
    ) oldest LIMIT 64) its
    WHERE d.whose IS NOT NULL
), placed AS MATERIALIZED (
    SELECT b.number, b.runner_id, b.runner_key, b.claim_number, f.run_id, f.place - b.before AS place
    FROM (
        SELECT *, sum(wanted) OVER (PARTITION BY class_id, whose ORDER BY number) - wanted AS before FROM best
    ) b JOIN (
        SELECT *, row_number() OVER (
            PARTITION BY class_id, whose ORDER BY priority, queued_at, run_id
        ) AS place
        FROM (TABLE anybodys UNION ALL TABLE named) both_kinds
    ) f ON f.class_id = b.class_id AND f.whose IS NOT DISTINCT FROM b.whose
        AND f.place > b.before AND f.place <= b.before + b.wanted
), wanting AS MATERIALIZED (
    SELECT job_id, status, created_at, updated_at, input_summary, policy_digest,
        cancel_requested_at IS NOT NULL OR status NOT IN ('queued', 'running') AS unwanted
    FROM jobs WHERE job_id IN (SELECT job_id FROM runs JOIN placed USING (run_id))
    ORDER BY job_id FOR UPDATE {others}
), leased AS (
    UPDATE run_queue q SET
        state = 'CLAIMED', attempt = q.attempt + 1, runner_id = p.runner_id, runner_key = p.runner_key,
        claim_number = p.claim_number, lease_digest = ($6::text[])[(p.number - 1) * $4 + p.place],
        claimed_at = clock_timestamp(),
        lease_expires_at = clock_timestamp()
            + make_interval(secs => coalesce(($8::jsonb ->> r.stage)::float8, $7::float8)),
        started_at = NULL, progress = NULL, status_text = NULL, job_spec_digest = NULL
    FROM placed p JOIN runs r USING (run_id) JOIN wanting j USING (job_id)
    WHERE q.run_id = p.run_id
    RETURNING p.number, p.place, q.run_id, q.runner_id, q.runner_key, q.attempt, q.claimed_at,
        q.lease_expires_at
), told AS (
    INSERT INTO audit_log (actor, act, subject, data)
    SELECT runner_id, 'lease.granted', run_id, jsonb_build_object('attempt', attempt, 'key', runner_key)
    FROM leased
)
SELECT b.number, b.class_id, b.named, EXISTS (SELECT FROM placed p WHERE p.number = b.number) AS found,
    b.runner_id, b.runner_key, l.run_id, l.place, l.attempt, l.claimed_at,
    l.lease_expires_at, r.job_id, r.stage, r.role, r.config, r.limits,
    j.status, j.created_at, j.updated_at, j.policy_digest, j.unwanted,
    CASE WHEN j.status = 'queued' THEN j.input_summary END AS input_summary
FROM best b LEFT JOIN leased l USING (number)
LEFT JOIN runs r USING (run_id) LEFT JOIN wanting j USING (job_id)
ORDER BY b.number, l.place
"""
CLAIM: Final = _CLAIM.format(others="")
# As ``CLAIM``, but it waits for no job: who was to have a run of a locked one has ``found`` and no lease.
CLAIM_TOGETHER: Final = _CLAIM.format(others="SKIP LOCKED")

# A statement of its own under the runners' locks, which come in the order of their ids: two claims at once
# do not see each other's lease above.
LOCK_MEASURING: Final = """
SELECT pg_advisory_xact_lock(hashtextextended('measuring:' || runner_id, 0))
FROM unnest($1::text[]) AS t (runner_id)
"""
MEASURING_TWICE: Final = """
SELECT runner_id FROM run_queue JOIN requirement_classes USING (class_id)
WHERE state = 'CLAIMED' AND runner_id = ANY($1::text[]) AND stage = 'runtime'
GROUP BY runner_id HAVING count(*) > 1
"""

# ``events.EventRows.columns`` as the parameters 5 to 8.
ADD_EVENTS: Final = """
    INSERT INTO job_events (job_id, seq, type, data)
    SELECT e.job_id, last.seq + e.place, e.type, e.data
    FROM unnest($5::text[], $6::integer[], $7::text[], $8::jsonb[]) AS e (job_id, place, type, data)
    CROSS JOIN LATERAL (SELECT coalesce(max(seq), 0) AS seq FROM job_events WHERE job_id = e.job_id) last
"""

# Job specs by run, digest, body and job; events by job, place, type and data; jobs that start, with their
# worker requests. The jobs are locked, and their events numbered by a snapshot younger than that.
SEAL: Final = f"""
WITH spec AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[]) AS t (run_id, digest, body, job_id)
), kept AS (
    INSERT INTO artifacts (digest, size, body) SELECT digest, length(body), body FROM spec ORDER BY digest
    ON CONFLICT (digest) DO UPDATE SET expires_at = NULL
), granted AS (
    INSERT INTO job_artifacts (job_id, digest, role) SELECT job_id, digest, 'job-spec' FROM spec
    ON CONFLICT DO NOTHING
), told AS ({ADD_EVENTS}), started AS (
    UPDATE jobs SET status = 'running', worker_request = s.request, updated_at = clock_timestamp()
    FROM unnest($9::text[], $10::jsonb[]) AS s (job_id, request)
    WHERE jobs.job_id = s.job_id AND jobs.status = 'queued'
)
UPDATE run_queue SET job_spec_digest = spec.digest FROM spec WHERE run_queue.run_id = spec.run_id
"""  # noqa: S608 - names of ours

# The fence, in each of the next: run, state, attempt, token and runner; no row is a stale lease.

# Items by number. Written only when it tells something: progress, a status, the start, or that a good part
# of the lease has passed. No index covers what is written, so that the new version stays on its page.
HEARTBEAT: Final = """
WITH item AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::integer[], $4::text[], $7::jsonb[], $8::text[])
        WITH ORDINALITY AS t (runner_id, run_id, attempt, lease_digest, progress, status_text, number)
), held AS MATERIALIZED (
    SELECT i.number, i.progress, i.status_text, q.run_id, q.lease_expires_at, r.job_id, r.stage, r.role,
        s.seconds, i.progress IS NOT NULL AND i.progress IS DISTINCT FROM q.progress AS moved,
        j.cancel_requested_at IS NOT NULL OR j.status NOT IN ('queued', 'running') AS cancel_requested,
        q.started_at IS NULL OR (i.progress IS NOT NULL AND i.progress IS DISTINCT FROM q.progress)
            OR (i.status_text IS NOT NULL AND i.status_text IS DISTINCT FROM q.status_text)
            OR q.lease_expires_at < clock_timestamp() + make_interval(secs => s.seconds * 0.75) AS due
    FROM item i JOIN run_queue q USING (run_id) JOIN runs r USING (run_id) JOIN jobs j USING (job_id)
    CROSS JOIN LATERAL (SELECT coalesce(($6::jsonb ->> r.stage)::float8, $5::float8) AS seconds) s
    WHERE q.state = 'CLAIMED' AND q.attempt = i.attempt AND q.lease_digest = i.lease_digest
      AND q.runner_id = i.runner_id AND q.lease_expires_at > clock_timestamp()
), locked AS MATERIALIZED (
    SELECT run_id FROM run_queue WHERE run_id IN (SELECT run_id FROM held WHERE due)
    ORDER BY run_id FOR NO KEY UPDATE
), beat AS (
    UPDATE run_queue q SET
        lease_expires_at = clock_timestamp() + make_interval(secs => h.seconds),
        started_at = coalesce(q.started_at, clock_timestamp()),
        progress = coalesce(h.progress, q.progress),
        status_text = coalesce(h.status_text, q.status_text)
    FROM held h JOIN item i USING (number), locked l
    WHERE q.run_id = h.run_id AND l.run_id = h.run_id AND h.due
      AND q.state = 'CLAIMED' AND q.attempt = i.attempt AND q.lease_digest = i.lease_digest
      AND q.runner_id = i.runner_id AND q.lease_expires_at > clock_timestamp()
    RETURNING q.run_id, q.lease_expires_at
)
SELECT h.number, h.run_id, h.job_id, h.stage, h.role, h.moved, h.cancel_requested,
    CASE WHEN h.due THEN b.lease_expires_at ELSE h.lease_expires_at END AS lease_expires_at
FROM held h LEFT JOIN beat b USING (run_id)
WHERE b.run_id IS NOT NULL OR NOT h.due
"""

LOCK_LEASED: Final = """
SELECT q.run_id, q.attempt, q.max_attempts, q.class_id, q.assigned_runner_id, q.runner_id, q.lease_digest,
    r.job_id, r.stage, r.role
FROM run_queue q JOIN runs r USING (run_id)
WHERE q.run_id = $1 AND q.state = 'CLAIMED' AND q.attempt = $2 AND q.lease_digest = $3 AND q.runner_id = $4
FOR UPDATE OF q
"""

LOCK_EXPIRED: Final = """
SELECT q.run_id, q.attempt, q.max_attempts, q.class_id, q.assigned_runner_id, q.runner_id, q.lease_digest,
    r.job_id, r.stage, r.role
FROM run_queue q JOIN runs r USING (run_id)
WHERE q.run_id = $2 AND q.state = 'CLAIMED' AND q.lease_expires_at <= $1
FOR UPDATE OF q SKIP LOCKED
"""

# Of one key: while a key is rotated its runner is two processes, and neither knows the other's leases.
ABANDONED: Final = """
SELECT run_id, attempt FROM run_queue WHERE state = 'CLAIMED' AND runner_id = $1 AND run_id <> ALL($2::text[])
    AND (claim_number < $3::bigint) IS NOT FALSE AND runner_key = $4
"""
LOCK_ABANDONED: Final = """
SELECT q.run_id, q.attempt, q.max_attempts, q.class_id, q.assigned_runner_id, q.runner_id, q.lease_digest,
    q.started_at, r.job_id, r.stage, r.role
FROM run_queue q JOIN runs r USING (run_id)
WHERE q.run_id = $1 AND q.state = 'CLAIMED' AND q.runner_id = $2 AND q.attempt = $3
FOR UPDATE OF q SKIP LOCKED
"""

# Over all leases: an index of expiries would make every heartbeat touch it.
EXPIRED: Final = """
SELECT run_id FROM run_queue WHERE state = 'CLAIMED' AND lease_expires_at <= $1
ORDER BY lease_expires_at LIMIT $2
"""

LEASE_COUNTS: Final = """
SELECT clock_timestamp() AS now, count(*) AS leased,
    count(*) FILTER (WHERE lease_expires_at <= clock_timestamp()) AS expired
FROM run_queue WHERE state = 'CLAIMED'
"""

_IS_UNLISTED: Final = """
q.state = 'CLAIMED' AND q.runner_key IS NOT NULL
    AND NOT EXISTS (SELECT FROM good_keys WHERE public_key = q.runner_key)
"""
UNLISTED: Final = f"SELECT run_id FROM run_queue q WHERE {_IS_UNLISTED}"  # noqa: S608 - names of ours
LOCK_UNLISTED: Final = f"""
SELECT q.run_id, q.attempt, q.max_attempts, q.class_id, q.assigned_runner_id, q.runner_id, q.lease_digest,
    r.job_id, r.stage, r.role
FROM run_queue q JOIN runs r USING (run_id)
WHERE q.run_id = $1 AND {_IS_UNLISTED}
FOR UPDATE OF q SKIP LOCKED
"""  # noqa: S608 - names of ours

# By run, and how many attempts it gets more.
REQUEUE: Final = """
UPDATE run_queue SET state = 'PENDING', max_attempts = max_attempts + $2,
    runner_id = NULL, lease_digest = NULL, lease_expires_at = NULL,
    runner_key = NULL, claim_number = NULL, claimed_at = NULL, started_at = NULL, progress = NULL,
    status_text = NULL, job_spec_digest = NULL
WHERE run_id = $1
"""

LOCK_PENDING: Final = """
SELECT run_id FROM run_queue WHERE run_id = $1 AND state = 'PENDING' FOR UPDATE SKIP LOCKED
"""

_OF_JOB: Final = """
SELECT q.run_id, q.attempt, q.class_id, q.runner_id, r.job_id, r.stage, r.role
FROM run_queue q JOIN runs r USING (run_id) WHERE r.job_id = $1 ORDER BY q.run_id FOR UPDATE OF q
"""
# Before the job's row is locked; and then whatever came until it was.
LOCK_RUNS_OF_JOB: Final = _OF_JOB
LOCK_LATE_RUNS_OF_JOB: Final = f"{_OF_JOB} SKIP LOCKED"

STORE_OUTCOME: Final = """
WITH gone AS (
    DELETE FROM run_queue WHERE run_id = $1 RETURNING run_id, attempt, lease_digest, runner_id, runner_key
), forgiven AS (
    UPDATE runners SET strikes = 0 WHERE runner_id = (SELECT runner_id FROM gone) AND strikes > 0 AND $7
), told AS (
    INSERT INTO audit_log (actor, act, subject, data)
    SELECT coalesce(runner_id, 'control-plane'), 'run.' || lower($2), run_id,
        jsonb_strip_nulls(jsonb_build_object('attempt', attempt, 'evidence', $3::text))
    FROM gone
)
INSERT INTO run_outcomes
    (run_id, state, attempt, lease_digest, runner_id, runner_key, evidence_digest, submission_digest,
    failure, exhausted)
SELECT run_id, $2, attempt, lease_digest, runner_id, runner_key, $3, $4, $5, $6 FROM gone
"""

OUTCOME: Final = """
SELECT state, attempt, lease_digest, runner_id, evidence_digest, submission_digest
FROM run_outcomes WHERE run_id = $1
"""

# A job has few runs: each is looked up, however many rows the planner expects (``OFFSET 0`` keeps it so).
RUNS_OF_JOBS: Final = """
SELECT r.job_id, r.run_id, r.stage, r.role, coalesce(o.state, q.state) AS state, o.evidence_digest, o.failure
FROM runs r
LEFT JOIN LATERAL (SELECT state FROM run_queue WHERE run_id = r.run_id OFFSET 0) q ON true
LEFT JOIN LATERAL (
    SELECT state, evidence_digest, failure FROM run_outcomes WHERE run_id = r.run_id OFFSET 0
) o ON true
WHERE r.job_id = ANY($1::text[])
ORDER BY r.created_at, r.run_id
"""

# One JSON text per job ``j``, so that a page of jobs needs no query of its own for each. ``fits``: a runner
# that may come is known to be able, or the run does not wait.
# How many wait before it, counted no further than anybody wants to know.
_POSITION: Final = """
    CASE WHEN q.state = 'PENDING' AND q.assigned_runner_id IS NULL THEN 1 + (SELECT count(*) FROM (
        SELECT FROM run_queue p
        WHERE p.class_id = q.class_id AND p.state = 'PENDING' AND p.assigned_runner_id IS NULL
          AND (p.priority, p.queued_at, p.run_id) < (q.priority, q.queued_at, q.run_id)
        ORDER BY p.priority, p.queued_at, p.run_id LIMIT 199) ahead)
    WHEN q.state = 'PENDING' THEN 1 + (SELECT count(*) FROM (
        SELECT FROM run_queue p
        WHERE p.assigned_runner_id = q.assigned_runner_id AND p.class_id = q.class_id AND p.state = 'PENDING'
          AND (p.priority, p.queued_at, p.run_id) < (q.priority, q.queued_at, q.run_id)
        ORDER BY p.priority, p.queued_at, p.run_id LIMIT 199) ahead)
    END
"""
_AS_SHOWN: Final = """
(SELECT json_agg(json_build_object(
    'run_id', r.run_id, 'stage', r.stage, 'role', r.role,
    'state', coalesce(o.state, q.state), 'attempt', coalesce(o.attempt, q.attempt),
    'runner_id', coalesce(o.runner_id, q.runner_id), 'progress', q.progress,
    'status_text', q.status_text,
    'class_id', r.class_id, 'assigned_runner_id', q.assigned_runner_id, 'queue_position', {position},
    'fits', q.state IS DISTINCT FROM 'PENDING' OR EXISTS (
        SELECT FROM runner_classes JOIN good_runners USING (runner_id) JOIN runners USING (runner_id)
        WHERE class_id = r.class_id AND standing = 'active'
            AND (q.assigned_runner_id IS NULL OR runner_id = q.assigned_runner_id)
    )
) ORDER BY r.created_at, r.run_id)
FROM runs r LEFT JOIN run_queue q USING (run_id) LEFT JOIN run_outcomes o USING (run_id)
WHERE r.job_id = j.job_id)::text
"""
RUNS_AS_SHOWN: Final = _AS_SHOWN.format(position="NULL")
RUNS_WITH_POSITION: Final = _AS_SHOWN.format(position=_POSITION)
