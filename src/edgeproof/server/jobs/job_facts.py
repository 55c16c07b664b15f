"""Gathers what ``lab.plan`` decides on: jobs' orders and policies, and how their runs stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import msgspec

from edgeproof.contract.canonical import decode_canonical
from edgeproof.contract.envelope import peek_payload
from edgeproof.contract.jobs import JobError
from edgeproof.contract.policy import Policy
from edgeproof.contract.statements import BuildStatement
from edgeproof.forge.presets import PRESETS
from edgeproof.lab.plan import Built, Catalogue, Order, RunFacts, order_of
from edgeproof.lab.worker_request import options_of
from edgeproof.server.artifacts.documents import load_documents
from edgeproof.server.db.database import Connection
from edgeproof.server.db.rows import Row
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.server.runs import queue_sql

_POLICIES: Final = "SELECT digest, body FROM policies WHERE digest = ANY($1::text[])"

# What a digest names never changes, and most jobs have the same few.
_known: Final[dict[str, Policy]] = {}
_MOST_KNOWN: Final = 64


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


async def policy_of(plane: ControlPlane, connection: Connection, digest: str) -> Policy:
    """The policy of a job: the operator's, or one that its request tightened, which is the job's own."""
    return (await policies_of(plane, connection, {digest}))[digest]


async def policies_of(plane: ControlPlane, connection: Connection, digests: Set[str]) -> dict[str, Policy]:
    """By digest, as ``policy_of``."""
    found = {digest: _known[digest] for digest in digests if digest in _known}
    if unknown := digests - found.keys():
        bodies = {row["digest"]: row["body"] for row in await connection.fetch(_POLICIES, list(unknown))}
        bodies |= await load_documents(plane, unknown - bodies.keys(), connection)
        read = {digest: decode_canonical(body, Policy, what="policy") for digest, body in bodies.items()}
        if len(_known) + len(read) > _MOST_KNOWN:
            _known.clear()
        _known.update(read)
        found |= read
    return found


@dataclass(frozen=True, slots=True)
class Runs:
    """A job's runs as rows of ``queue_sql.RUNS_OF_JOBS``, oldest first, and what its next step is made of:
    envelopes of builds, by their digest."""

    rows: Sequence[Row]
    builds: Mapping[str, bytes]

    def facts(self) -> list[RunFacts]:
        """Raises ``Refused`` for a build that this release cannot read."""
        return [
            RunFacts(
                run_id=row["run_id"],
                stage=row["stage"],
                role=row["role"],
                state=row["state"],
                failure=None if row["failure"] is None else msgspec.convert(row["failure"], JobError),
                built=self._built(row["evidence_digest"]),
            )
            for row in self.rows
        ]

    def _built(self, digest: str | None) -> Built | None:
        if digest is None or digest not in self.builds:
            return None
        # Its signature was checked when it was submitted.
        _, payload = peek_payload(self.builds[digest])
        statement = decode_canonical(payload, BuildStatement, what="build")
        manifest = statement.predicate.buildDefinition.internalParameters.manifest
        return Built(
            artifact=statement.subject[0].digest.sha256, build=digest, precision=manifest.artifact.precision
        )


async def runs_of(plane: ControlPlane, connection: Connection, job_ids: Sequence[str]) -> dict[str, Runs]:
    """The runs of each job."""
    rows: dict[str, list[Row]] = {job_id: [] for job_id in job_ids}
    for row in await connection.fetch(queue_sql.RUNS_OF_JOBS, list(job_ids)):
        rows[row["job_id"]].append(row)
    named = {job_id: _builds_to_read(its) for job_id, its in rows.items()}
    wanted = {digest for digests in named.values() for digest in digests}
    bodies = await load_documents(plane, wanted, connection)
    return {
        job_id: Runs(its, {digest: bodies[digest] for digest in named[job_id]})
        for job_id, its in rows.items()
    }


def _builds_to_read(rows: Sequence[Row]) -> list[str]:
    """What was built matters once, when all is there to be measured and is not being measured yet."""
    if any(row["stage"] != "forge" or row["state"] != "COMPLETE" for row in rows):
        return []
    return [row["evidence_digest"] for row in rows]
