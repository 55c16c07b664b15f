"""The SQL of kept results. Whose are seen is a condition like any other: ``owner``."""

from __future__ import annotations

from functools import cache
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
ON CONFLICT DO NOTHING RETURNING result_id
"""
ADD_KEY: Final = """
INSERT INTO result_keys (owner_id, key, digest) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""
KEY: Final = "SELECT digest FROM result_keys WHERE owner_id = $1 AND key = $2"
POSTED: Final = f"""
SELECT {VIEW}, body FROM runtime_results WHERE owner_id = $1 AND digest = $2 AND source = 'posted'
"""  # noqa: S608 - only the constant above is filled in
_WANTED: Final = {
    "owner": "r.owner_id = {}",
    "model": "lower(r.model) = lower({})",
    "engine": "lower(r.engine) = lower({})",
    "device": "lower(r.device) = lower({})",
    "precision": "lower(r.precision) = lower({})",
    "compare_key": "r.compare_key = {}",
    "backend_key": "r.backend_key = {}",
    "basis": "r.basis = {}",
    "source": "r.source = {}",
    "job": "r.job_id = {}",
    "dry_run": "r.dry_run = {}",
}
# Each set of conditions has its own statement, as with jobs: one for all could use none of the indexes.


def _asking(wanted: tuple[str, ...], first: int) -> str:
    told = (_WANTED[name].format(f"${number}") for number, name in enumerate(wanted, first))
    return "".join(f" AND {one}" for one in told)


@cache
def find(*wanted: str) -> str:
    """By id (``$1``), digest (``$2``) or, for its candidate, a job's id (``$1``)."""
    return f"""
    SELECT {VIEW}, body FROM runtime_results r
    WHERE (r.result_id = $1 OR r.digest = $2 OR (r.job_id = $1 AND r.role = 'candidate')){_asking(wanted, 3)}
    ORDER BY r.result_id = $1 DESC, r.seq DESC LIMIT 1
    """  # noqa: S608 - only the constants above are filled in


@cache
def page(*wanted: str) -> str:
    """Before the row numbered ``$1``, ``$2`` rows."""
    return f"""
    SELECT {VIEW} FROM runtime_results r WHERE r.seq < $1{_asking(wanted, 3)} ORDER BY r.seq DESC LIMIT $2
    """  # noqa: S608 - only the constants above are filled in


@cache
def pair(*wanted: str) -> str:
    """The newest result that has an older one to go with; the newest of those is its partner.

    ``$1``: whether they are to be of one precision. Only the newest thousand are tried, so that an answer of
    none is soon there.
    """
    return f"""
    SELECT base.result_id AS base, new.result_id AS new
    FROM (
        SELECT * FROM runtime_results r WHERE NOT r.dry_run{_asking(wanted, 2)}
        ORDER BY r.measured_at DESC, r.seq DESC LIMIT 1000
    ) new CROSS JOIN LATERAL (
        SELECT result_id FROM runtime_results base
        WHERE base.owner_id = new.owner_id AND base.pair_key = new.pair_key AND NOT base.dry_run
          AND (base.measured_at, base.seq) < (new.measured_at, new.seq)
          AND (lower(base.precision) = lower(new.precision)) = $1
        ORDER BY base.measured_at DESC, base.seq DESC LIMIT 1
    ) base
    ORDER BY new.measured_at DESC, new.seq DESC LIMIT 1
    """  # noqa: S608 - only the constants above are filled in
