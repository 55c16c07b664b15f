"""The SQL by which results are taken, named; it belongs to ``queue_sql``, whose order of locks it keeps.

Each statement serves any number of results at once. An item is a run's id with the lease that it was
delivered under; ``number`` is its place in the call.
"""

from __future__ import annotations

from typing import Final

from edgeproof.contract.run_metrics import HardwareMetrics, ModelMetrics
from edgeproof.server.runs.queue_sql import ADD_EVENTS

_MODEL_COLUMNS: Final = ", ".join(ModelMetrics.__struct_fields__)
_HARDWARE_COLUMNS: Final = ", ".join(HardwareMetrics.__struct_fields__)
_ITEMS: Final = """
item AS (
    SELECT * FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[])
        WITH ORDINALITY AS t (run_id, attempt, lease_digest, runner_id, number)
)
"""
# The fence: run, state, attempt, token and runner.
_HELD: Final = """
q.state = 'CLAIMED' AND q.attempt = i.attempt AND q.lease_digest = i.lease_digest
    AND q.runner_id = i.runner_id
"""

# Without a lock: what a result is checked against before the fence decides. Bodies are null where the bytes
# lie in the store; only measuring is judged by the policy.
HELD_LEASES: Final = f"""
WITH {_ITEMS}
SELECT i.number, r.job_id, r.stage, q.job_spec_digest, spec.body AS job_spec, j.policy_digest,
    policy.body AS policy
FROM item i JOIN run_queue q USING (run_id) JOIN runs r USING (run_id) JOIN jobs j USING (job_id)
LEFT JOIN artifacts spec ON spec.digest = q.job_spec_digest
LEFT JOIN artifacts policy ON policy.digest = j.policy_digest AND r.stage = 'runtime'
WHERE {_HELD}
"""  # noqa: S608 - names of ours

# Queue rows, then those runners that have strikes, then jobs: each in the order of their ids.
LOCK_LEASES: Final = f"""
WITH {_ITEMS}, locked AS MATERIALIZED (
    SELECT i.number, q.run_id, q.attempt, q.runner_id
    FROM item i JOIN run_queue q USING (run_id)
    WHERE {_HELD}
    ORDER BY q.run_id FOR UPDATE OF q
), struck AS MATERIALIZED (
    SELECT runner_id FROM runners
    WHERE runner_id IN (SELECT runner_id FROM locked) AND strikes > 0
    ORDER BY runner_id FOR NO KEY UPDATE
), job AS MATERIALIZED (
    SELECT job_id, status, cancel_requested_at, input_summary, policy_digest, needs_advance FROM jobs
    WHERE job_id IN (SELECT job_id FROM runs JOIN locked USING (run_id))
        AND (SELECT count(*) FROM struck) >= 0
    ORDER BY job_id FOR UPDATE
)
SELECT l.number, l.run_id, l.attempt, l.runner_id, l.runner_id IN (TABLE struck) AS struck,
    r.stage, r.role, job.*
FROM locked l JOIN runs r USING (run_id) JOIN job USING (job_id)
"""  # noqa: S608 - names of ours

# A statement of its own under the locks: a key that was removed meanwhile is good no more. What a result
# names (digests by role) is held until the commit, so that it cannot expire before its job refers to it.
NAMED_ARTIFACTS: Final = """
WITH item AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::jsonb[])
        WITH ORDINALITY AS t (principal_id, job_id, runner_key, outputs, number)
), named AS MATERIALIZED (
    SELECT digest, size FROM artifacts
    WHERE digest IN (SELECT output.value FROM item, jsonb_each_text(outputs) AS output)
    ORDER BY digest FOR KEY SHARE
)
SELECT i.number, EXISTS (SELECT FROM good_keys WHERE public_key = i.runner_key) AS allowed, (
    SELECT coalesce(jsonb_object_agg(n.digest, n.size), '{}')
    FROM named n
    WHERE n.digest IN (SELECT value FROM jsonb_each_text(i.outputs)) AND (
        EXISTS (SELECT FROM uploads u WHERE u.principal_id = i.principal_id AND u.digest = n.digest)
        OR EXISTS (SELECT FROM job_artifacts j WHERE j.job_id = i.job_id AND j.digest = n.digest)
    )
) AS sizes
FROM item i
"""

# Outcomes by run, evidence and body; runners to forgive; events by job, place, type and text; references by
# job, digest and role; rows of numbers. A body is null where the bytes were kept in the store.
STORE_RESULTS: Final = f"""
WITH result AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[]) AS t (run_id, digest, body)
), gone AS (
    DELETE FROM run_queue q USING result r WHERE q.run_id = r.run_id
    RETURNING q.run_id, q.attempt, q.lease_digest, q.runner_id, q.runner_key, r.digest
), ended AS (
    INSERT INTO run_outcomes (run_id, state, attempt, lease_digest, runner_id, runner_key, evidence_digest,
        submission_digest, exhausted)
    SELECT run_id, 'COMPLETE', attempt, lease_digest, runner_id, runner_key, digest, digest, false FROM gone
), forgiven AS (
    UPDATE runners SET strikes = 0 WHERE runner_id = ANY($4::text[])
), audited AS (
    INSERT INTO audit_log (actor, act, subject, data)
    SELECT runner_id, 'run.complete', run_id, jsonb_build_object('attempt', attempt, 'evidence', digest)
    FROM gone
), kept AS (
    INSERT INTO artifacts (digest, size, body)
    SELECT DISTINCT ON (digest) digest, length(body), body FROM result WHERE body IS NOT NULL ORDER BY digest
    ON CONFLICT (digest) DO UPDATE SET expires_at = NULL WHERE artifacts.expires_at IS NOT NULL
), reference AS (
    SELECT * FROM unnest($9::text[], $10::text[], $11::text[]) AS t (job_id, digest, role)
), lasting AS (
    UPDATE artifacts SET expires_at = NULL WHERE digest IN (
        SELECT digest FROM artifacts WHERE digest IN (SELECT digest FROM reference) AND expires_at IS NOT NULL
        ORDER BY digest FOR NO KEY UPDATE
    )
), granted AS (
    INSERT INTO job_artifacts (job_id, digest, role)
    SELECT DISTINCT job_id, digest, role FROM reference ON CONFLICT DO NOTHING
), told AS ({ADD_EVENTS}), models AS (
    INSERT INTO run_model_metrics ({_MODEL_COLUMNS})
    SELECT {_MODEL_COLUMNS} FROM jsonb_populate_recordset(NULL::run_model_metrics, $12)
)
INSERT INTO run_hardware_metrics ({_HARDWARE_COLUMNS})
SELECT {_HARDWARE_COLUMNS} FROM jsonb_populate_recordset(NULL::run_hardware_metrics, $13)
"""  # noqa: S608 - names of ours
