"""The SQL of kept results. Who may see which is ``$1`` (the principal) and ``$2`` (whether it sees all)."""

from __future__ import annotations

from typing import Final

VIEW: Final = """
seq, result_id, digest, basis, source, job_id, role, created_at, measured_at, model, engine, device,
precision, batch, height, width, numbers, compare_key, backend_key, dry_run
"""
ADD: Final = """
INSERT INTO runtime_results (
    result_id, owner_id, digest, basis, source, job_id, role, model, engine, device, precision,
    batch, height, width, compare_key, backend_key, pair_key, dry_run, numbers, body, measured_at
) VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
    least(clock_timestamp(), coalesce($21, clock_timestamp()))
)
ON CONFLICT DO NOTHING
"""
ADD_KEY: Final = """
INSERT INTO result_keys (owner_id, key, digest) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""
KEY: Final = "SELECT digest FROM result_keys WHERE owner_id = $1 AND key = $2"
POSTED: Final = f"""
SELECT {VIEW}, body FROM runtime_results WHERE owner_id = $1 AND digest = $2 AND source = 'posted'
"""  # noqa: S608 - only the constant above is filled in
FIND: Final = f"""
SELECT {VIEW}, body FROM runtime_results
WHERE (owner_id = $1 OR $2) AND (result_id = $3 OR digest = $4 OR (job_id = $3 AND role = 'candidate'))
ORDER BY result_id = $3 DESC, seq DESC LIMIT 1
"""  # noqa: S608 - only the constant above is filled in
PAGE: Final = f"""
SELECT {VIEW} FROM runtime_results
WHERE (owner_id = $1 OR $2) AND ($3::bigint IS NULL OR seq < $3)
  AND ($4::text IS NULL OR lower(model) = lower($4)) AND ($5::text IS NULL OR lower(engine) = lower($5))
  AND ($6::text IS NULL OR lower(device) = lower($6)) AND ($7::text IS NULL OR lower(precision) = lower($7))
  AND ($8::text IS NULL OR compare_key = $8) AND ($9::text IS NULL OR backend_key = $9)
  AND ($10::text IS NULL OR basis = $10) AND ($11::text IS NULL OR source = $11)
  AND ($12::text IS NULL OR job_id = $12) AND ($13::text IS NULL OR owner_id = $13)
  AND (NOT $14 OR NOT dry_run)
ORDER BY seq DESC LIMIT $15
"""  # noqa: S608 - only the constant above is filled in
# The newest result that has an older one to go with; the newest of those is its partner.
PAIR: Final = """
SELECT base.result_id AS base, new.result_id AS new
FROM runtime_results new CROSS JOIN LATERAL (
    SELECT result_id FROM runtime_results base
    WHERE base.owner_id = new.owner_id AND base.pair_key = new.pair_key AND NOT base.dry_run
      AND (base.measured_at, base.seq) < (new.measured_at, new.seq)
      AND (lower(base.precision) = lower(new.precision)) = ($3 = 'same_precision')
    ORDER BY base.measured_at DESC, base.seq DESC LIMIT 1
) base
WHERE (new.owner_id = $1 OR $2) AND NOT new.dry_run
  AND ($4::text IS NULL OR lower(new.model) = lower($4))
  AND ($5::text IS NULL OR lower(new.engine) = lower($5))
  AND ($6::text IS NULL OR lower(new.device) = lower($6))
ORDER BY new.measured_at DESC, new.seq DESC LIMIT 1
"""
