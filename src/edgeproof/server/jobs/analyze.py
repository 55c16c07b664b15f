"""A user asks for an analysis: check all that can be checked now, then queue it, in one transaction.

No path is opened here or anywhere on the server: models and data are uploaded artifacts (DESIGN 18).
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Final

import asyncpg
import msgspec

from edgeproof.contract.canonical import canonical, digest_of, sha256_hex
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobView
from edgeproof.contract.requests import AnalyzeOptions, AnalyzeRequest
from edgeproof.contract.worker import ForgeHandover
from edgeproof.lab.forge_handover import handover_summary
from edgeproof.lab.policies import check_policy
from edgeproof.lab.tighten import check_tighter
from edgeproof.lab.worker_request import WORKFLOW, input_summary, options_of
from edgeproof.server.artifacts.artifacts import keep_bytes, unreadable
from edgeproof.server.db.database import Connection
from edgeproof.server.jobs.adapters import adapter_of
from edgeproof.server.jobs.advance import enqueue
from edgeproof.server.jobs.jobs import get_job
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.policies import demand_own_name, find_policy
from edgeproof.server.plane.principals import require

DEFAULT_POLICY: Final = "edgeproof-default"

# The job, its first event, its key, and what it names: kept from now on, in the order of their digests.
_ADD_JOB: Final = """
WITH job AS (
    INSERT INTO jobs (job_id, owner_id, workflow, status, input_summary, policy_digest)
    VALUES ($1, $2, $3, 'queued', $4, $5)
), told AS (
    INSERT INTO job_events (job_id, seq, type, data) VALUES ($1, 1, 'status', '{"status": "queued"}')
), key AS (
    INSERT INTO idempotency (owner_id, key, request_digest, job_id)
    SELECT $2, $6, $7, $1 WHERE $6::text IS NOT NULL
), kept AS (
    UPDATE artifacts SET expires_at = NULL WHERE digest IN (
        SELECT digest FROM artifacts WHERE digest = ANY($8::text[]) AND expires_at IS NOT NULL
        ORDER BY digest FOR NO KEY UPDATE
    )
)
INSERT INTO job_artifacts (job_id, digest, role)
SELECT $1, digest, role FROM unnest($8::text[], $9::text[]) AS named (digest, role)
"""
_FIND_KEY: Final = "SELECT request_digest, job_id FROM idempotency WHERE owner_id = $1 AND key = $2"
_KEPT: Final = "SELECT 1 FROM artifacts WHERE digest = $1 AND expires_at IS NULL"


async def analyze(
    plane: ControlPlane,
    principal: Principal,
    request: AnalyzeRequest | ForgeHandover,
    idempotency_key: str | None = None,
) -> JobView:
    """Queue an analysis, asked for by a user or handed over by a Forge; the same key with the same request
    gives the same job.

    Raises:
        Refused: ``forbidden`` for anyone but a user; ``invalid_request``, ``path_not_allowed``,
            ``unknown_*``, ``calibration_required``, ``artifact_missing``;
            ``policy_invalid`` and ``policy_not_allowed`` for ``tighten``; ``job_exists`` for a name that is
            taken; ``conflict`` for a key that stands for another request.
    """
    require(principal, "user")
    summary = handover_summary(request) if isinstance(request, ForgeHandover) else input_summary(request)
    options = options_of(summary["options"])
    if options.tighten is not None:
        check_policy(options.tighten)
    asked = sha256_hex(msgspec.json.encode(request, order="sorted"))
    if idempotency_key is not None:
        known = await _known(plane, principal, idempotency_key, asked)
        if known is not None:
            return await get_job(plane, principal, known)
    job_id = request.job_id or f"job_{secrets.token_hex(6)}"
    try:
        async with plane.database.transaction() as connection:
            await _add(plane, connection, principal, job_id, summary, options, idempotency_key, asked)
    except asyncpg.UniqueViolationError as error:
        known = None
        # Whichever of the two was found taken: a job of that name may be this very request's.
        if idempotency_key is not None:
            known = await _known(plane, principal, idempotency_key, asked)
        if known is None:
            raise Refused("job_exists", f"job {job_id} exists") from error
        job_id = known
    return await get_job(plane, principal, job_id)


async def _known(plane: ControlPlane, principal: Principal, key: str, asked: str) -> str | None:
    row = await plane.database.pool.fetchrow(_FIND_KEY, principal.principal_id, key)
    if row is None:
        return None
    if row["request_digest"] != asked:
        raise Refused("conflict", "this Idempotency-Key stands for another request")
    job_id: str = row["job_id"]
    return job_id


async def _add(
    plane: ControlPlane,
    connection: Connection,
    principal: Principal,
    job_id: str,
    summary: dict[str, Any],
    options: AnalyzeOptions,
    idempotency_key: str | None,
    asked: str,
) -> None:
    adapter = adapter_of(options)
    inputs = sorted(await adapter.admit(connection, summary))
    policy, policy_digest = await find_policy(connection, options.policy or DEFAULT_POLICY)
    if options.tighten is not None:
        # Every combination of facts is tried: not on the loop that renews leases.
        await asyncio.to_thread(check_tighter, policy, options.tighten)
        policy = options.tighten
        policy_digest = digest_of(policy)
        await demand_own_name(connection, policy, policy_digest)
    for digest in await unreadable(connection, principal, inputs):
        raise Refused("artifact_missing", f"there is no artifact sha256:{digest}")
    # The policy's document is the same for most jobs: written once, and then only referred to.
    if await connection.fetchval(_KEPT, policy_digest) is None:
        await keep_bytes(plane, connection, canonical(policy))
    named = sorted([(digest, "input") for digest in inputs] + [(policy_digest, "policy")])
    try:
        await connection.execute(
            _ADD_JOB,
            *(job_id, principal.principal_id, WORKFLOW, summary, policy_digest),
            *(idempotency_key, asked),
            *([digest for digest, _ in named], [role for _, role in named]),
        )
    except asyncpg.ForeignKeyViolationError as error:
        raise Refused("artifact_missing", "an artifact of the request expired just now") from error
    runs = adapter.begin(summary, policy, plane.settings.default_limits)
    if runs:
        await enqueue(plane, connection, [(job_id, run) for run in runs])
