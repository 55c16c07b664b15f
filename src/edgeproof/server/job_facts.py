"""Gathers what ``lab.plan`` decides on: the job's order, its policy, and how its runs stand."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import msgspec

from edgeproof.contract.canonical import decode_canonical
from edgeproof.contract.envelope import peek_payload
from edgeproof.contract.jobs import JobError
from edgeproof.contract.policy import Policy
from edgeproof.contract.statements import BuildStatement
from edgeproof.forge.presets import PRESETS
from edgeproof.lab.plan import Built, Catalogue, JobFacts, Order, RunFacts, order_of
from edgeproof.lab.worker_request import options_of
from edgeproof.server import queue_sql
from edgeproof.server.control_plane import ControlPlane
from edgeproof.server.database import Connection
from edgeproof.server.documents import load_document
from edgeproof.server.rows import Row

_POLICY: Final = "SELECT body FROM policies WHERE digest = $1"


@cache
def catalogue() -> Catalogue:
    """What this release can be asked for."""
    return Catalogue(
        backends=frozenset(preset.backend for preset in PRESETS.values()),
        targets=frozenset(preset.target for preset in PRESETS.values()),
        presets={name: preset.precision for name, preset in PRESETS.items()},
    )


def order_in(summary: Mapping[str, Any]) -> Order:
    """The order that an input summary holds. Raises ``Refused`` as ``lab.plan.order_of``."""
    options = options_of(summary["options"])
    return order_of(summary["model_path"], summary["artifact_path"], options, catalogue())


async def job_facts(plane: ControlPlane, connection: Connection, job: Row) -> JobFacts:
    """``job`` has the columns ``status, cancel_requested_at, input_summary, policy_digest``."""
    return JobFacts(
        status=job["status"],
        cancel_requested=job["cancel_requested_at"] is not None,
        order=order_in(job["input_summary"]),
        policy=await policy_of(plane, connection, job["policy_digest"]),
        limits=plane.settings.default_limits,
    )


async def policy_of(plane: ControlPlane, connection: Connection, digest: str) -> Policy:
    """The policy of a job: the operator's, or one that its request tightened, which is the job's own."""
    body = await connection.fetchval(_POLICY, digest) or await load_document(plane, digest, connection)
    return decode_canonical(body, Policy, what="policy")


async def run_facts(plane: ControlPlane, connection: Connection, job_id: str) -> list[RunFacts]:
    """All runs of a job, oldest first."""
    return [
        RunFacts(
            run_id=row["run_id"],
            stage=row["stage"],
            role=row["role"],
            state=row["state"],
            failure=None if row["failure"] is None else msgspec.convert(row["failure"], JobError),
            built=await _built(plane, connection, row),
        )
        for row in await connection.fetch(queue_sql.RUNS_OF_JOB, job_id)
    ]


async def _built(plane: ControlPlane, connection: Connection, row: Row) -> Built | None:
    if row["stage"] != "forge" or row["evidence_digest"] is None:
        return None
    # Its signature was checked when it was submitted.
    _, payload = peek_payload(await load_document(plane, row["evidence_digest"], connection))
    statement = decode_canonical(payload, BuildStatement, what="build")
    manifest = statement.predicate.buildDefinition.internalParameters.manifest
    return Built(
        artifact=statement.subject[0].digest.sha256,
        build=row["evidence_digest"],
        precision=manifest.artifact.precision,
    )
