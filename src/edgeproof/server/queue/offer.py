"""What a runner is given with a lease: the signed job spec, kept and told in the claim's transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobError
from edgeproof.contract.log_ids import about
from edgeproof.contract.runners import ClaimedRun
from edgeproof.contract.statements import RunLimits, StageConfig
from edgeproof.domain.jobs import move
from edgeproof.domain.runs import Lease
from edgeproof.lab.worker_request import worker_request
from edgeproof.server.db.database import Connection
from edgeproof.server.db.rows import Row
from edgeproof.server.db.times import utc_text
from edgeproof.server.jobs.job_starts import told_job
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.server.plane.events import EventRows, wake_readers
from edgeproof.server.runs import queue_sql
from edgeproof.server.runs.job_specs import seal_job_spec
from edgeproof.server.runs.run_endings import leave_queue, run_told

_logger = logging.getLogger(__name__)

_SEALED_HERE: Final = 8
"""Job specs, of a tenth of a millisecond each."""


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a runner is given, its job spec's digest, what the job's readers are told, and the worker request
    of a job that starts with it, which is kept with the job (DESIGN, "How data flows")."""

    claimed: ClaimedRun
    digest: str
    told: dict[str, Any]
    started: dict[str, Any] | None


async def offer_runs(
    plane: ControlPlane, connection: Connection, runs: Sequence[Row], tokens: Sequence[str]
) -> dict[str, ClaimedRun]:
    """The runs just leased, by their ids, with their job specs; without those whose jobs want no more work,
    which are then cancelled, and those of which no job spec can be made, which have then failed: at the head
    they would stop every claim.

    ``runs`` are rows of ``queue_sql.CLAIM``, their jobs locked; ``tokens`` are those of their leases.
    """

    def seal() -> list[_Offer | None]:
        return [_offer(plane, run, token) for run, token in zip(runs, tokens, strict=True)]

    # Many signatures are too long for the loop that renews leases.
    offers = seal() if len(runs) <= _SEALED_HERE else await asyncio.to_thread(seal)
    offered = [offer for offer in offers if offer is not None]
    if offered:
        await _seal(connection, offered)
    for run, offer in zip(runs, offers, strict=True):
        await wake_readers(connection, run["job_id"])
        if run["unwanted"]:
            await leave_queue(connection, run, "CANCELLED")
        elif offer is None:
            failure = JobError(code="internal_error", message="the run has no job spec", stage=run["stage"])
            await leave_queue(connection, run, "FAILED", failure=failure)
    return {offer.claimed.run_id: offer.claimed for offer in offered}


async def _seal(connection: Connection, offers: Sequence[_Offer]) -> None:
    events, starting = EventRows(), dict[str, dict[str, Any]]()
    for offer in offers:
        job_id = offer.claimed.job_id
        # Only the first of a batch starts its job.
        if offer.started is not None and job_id not in starting:
            starting[job_id] = offer.started
            events.add(job_id, "status", {"status": move("queued", "running")})
        events.add(job_id, "metadata", offer.told)
    await connection.execute(
        queue_sql.SEAL,
        [offer.claimed.run_id for offer in offers],
        [offer.digest for offer in offers],
        [offer.claimed.job_spec.encode() for offer in offers],
        [offer.claimed.job_id for offer in offers],
        *events.columns(),
        list(starting),
        list(starting.values()),
    )


def _offer(plane: ControlPlane, run: Row, token: str) -> _Offer | None:
    """None for a run that nobody wants, or of which no job spec can be made."""
    if run["unwanted"]:
        return None
    settings, lease = plane.settings, Lease(run["attempt"], token)
    lease_seconds = settings.lease_of(run["stage"])
    try:
        envelope = _job_spec(plane, run, lease)
        started = worker_request(told_job(run)) if run["status"] == "queued" else None
    except (Refused, ValueError, msgspec.MsgspecError):
        with about(job_id=run["job_id"], run_id=run["run_id"], runner_id=run["runner_id"]):
            _logger.exception("no job spec can be made of the run")
        return None
    claimed = ClaimedRun(
        run_id=run["run_id"],
        job_id=run["job_id"],
        stage=run["stage"],
        attempt=lease.attempt,
        lease_token=lease.token,
        lease_expires_at=utc_text(run["lease_expires_at"]),
        heartbeat_seconds=min(settings.heartbeat_seconds, lease_seconds / 3),
        job_spec=envelope.decode(),
    )
    return _Offer(claimed, sha256_hex(envelope), run_told(run, "CLAIMED"), started)


def _job_spec(plane: ControlPlane, run: Row, lease: Lease) -> bytes:
    # `StageConfig` is a union: for `convert`'s type checker it is a value, not a type.
    config: StageConfig = msgspec.convert(run["config"], StageConfig)
    return seal_job_spec(
        plane.keys.signing,
        run_id=run["run_id"],
        job_id=run["job_id"],
        attempt=lease.attempt,
        lease_digest=lease.digest,
        runner_key=run["runner_key"],
        config=config,
        limits=msgspec.convert(run["limits"], RunLimits),
        policy_digest=run["policy_digest"],
        issued_at=run["claimed_at"],
        grace_seconds=plane.settings.lease_of(run["stage"]),
    )
