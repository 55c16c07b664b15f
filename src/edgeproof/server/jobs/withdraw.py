"""Decisions that rest on evidence of a compromised key need review again.

The signed decision stays as it was, and the job stays as it ended: what is added says that it no longer
counts, why and since when. What counts is when the server received the evidence, by the database's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.jobs import Withdrawal
from edgeproof.lab.withdrawn import words
from edgeproof.server.db.database import Connection
from edgeproof.server.plane.audit_log import CONTROL_PLANE, record

WITHDRAWAL: Final = """(
    SELECT jsonb_build_object(
        'at', to_char(w.withdrawn_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'by', w.withdrawn_by, 'reason', w.reason, 'runner_key', w.runner_key,
        'compromised_since', to_char(w.compromised_since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'signed_decision', j.result_decision ->> 'decision'
    ) FROM job_withdrawals w WHERE w.job_id = j.job_id
)"""
"""A ``Withdrawal`` or null, as a column of a query on ``jobs j``."""
_WITHDRAW: Final = """
INSERT INTO job_withdrawals (job_id, reason, runner_key, compromised_since, withdrawn_by)
SELECT DISTINCT ON (j.job_id) j.job_id, k.removed_reason, k.public_key, k.compromised_since, $3
FROM runner_keys k
JOIN run_outcomes o ON o.runner_key = k.public_key AND o.finished_at >= k.compromised_since
JOIN runs r USING (run_id) JOIN jobs j USING (job_id)
WHERE o.state = 'COMPLETE' AND j.status = 'completed'
    AND ($1::text IS NULL OR k.public_key = $1) AND ($2::text IS NULL OR j.job_id = $2)
ORDER BY j.job_id, o.finished_at
ON CONFLICT (job_id) DO NOTHING
RETURNING job_id, runner_key, reason
"""
_WITHDRAWN: Final = "SELECT job_id FROM job_withdrawals WHERE runner_key = $1 ORDER BY job_id"
# Waits for a removal under way, and makes one wait that comes now: one of the two sees the other.
_HOLD_KEYS: Final = """
SELECT k.public_key FROM runner_keys k
WHERE k.public_key IN (SELECT o.runner_key FROM runs r JOIN run_outcomes o USING (run_id) WHERE r.job_id = $1)
ORDER BY k.public_key FOR SHARE
"""


async def withdraw_decisions(connection: Connection, key: PublicKey, by: str) -> tuple[str, ...]:
    """Withdraw what rests on ``key``, whose removal this transaction holds.

    The ids of all jobs whose decisions are withdrawn for it, sorted: asked again, the same.
    """
    await _tell(connection, await connection.fetch(_WITHDRAW, key.base64, None, by), by)
    return tuple(row["job_id"] for row in await connection.fetch(_WITHDRAWN, key.base64))


async def withdraw_decision(connection: Connection, job_id: str) -> None:
    """Withdraw the decision that this transaction makes, if a key of its evidence was compromised before."""
    await connection.fetch(_HOLD_KEYS, job_id)
    await _tell(connection, await connection.fetch(_WITHDRAW, None, job_id, CONTROL_PLANE), CONTROL_PLANE)


async def _tell(connection: Connection, rows: list[Any], by: str) -> None:
    for row in rows:
        told = {"key": PublicKey.from_base64(row["runner_key"]).fingerprint, "reason": row["reason"]}
        await record(connection, by, "decision.withdrawn", row["job_id"], told)


def reviewed_again(result: dict[str, Any] | None, withdrawal: Withdrawal) -> dict[str, Any] | None:
    """``result`` as it is shown once withdrawn: nobody who reads only the decision can deploy on it.

    The evidence and ``decision_digest`` stay: they name the signed decision as it was.
    """
    if result is None:
        return None
    shown = dict(result)
    why = words(withdrawal)
    decision: Mapping[str, Any] = result.get("deployment_decision") or {}
    shown["deployment_decision"] = {
        **decision,
        "decision": "review_required",
        "reason": why,
        "recommended_action": "measure again on a runner whose key is good",
    }
    if isinstance(result.get("summary"), dict):
        shown["summary"] = {**result["summary"], "deployment_decision": "review_required"}
    return shown
