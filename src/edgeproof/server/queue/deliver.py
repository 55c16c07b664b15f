"""Takes signed results: any number at once, each verified, fenced and answered by itself.

All of a call are verified together, then stored in one transaction that also takes their jobs a step further.
What goes wrong there with one of them is not the others' trouble: they are then stored one by one, and the
steps are left to the sweep.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import EdgeproofError, Refused, Unavailable
from edgeproof.contract.jobs import EventType
from edgeproof.contract.log_ids import about
from edgeproof.contract.run_metrics import HardwareMetrics, ModelMetrics
from edgeproof.contract.runners import SubmitResponse
from edgeproof.domain.jobs import TERMINAL
from edgeproof.domain.runs import Lease
from edgeproof.server.artifacts.artifacts import MOST_KEPT_HERE, keep_bytes, keeping_transaction
from edgeproof.server.artifacts.documents import load_document
from edgeproof.server.db.database import AWAY, Connection
from edgeproof.server.db.rows import Row
from edgeproof.server.jobs.advance import step_all
from edgeproof.server.plane.audit_log import record
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.events import EventRows, wake_readers
from edgeproof.server.plane.gathering import one_of_each
from edgeproof.server.queue.delivery_sql import HELD_LEASES, LOCK_LEASES, NAMED_ARTIFACTS, STORE_RESULTS
from edgeproof.server.runs.check_result import Asked, Result, check_outputs, check_result
from edgeproof.server.runs.outcomes import repeated_outcome
from edgeproof.server.runs.run_endings import run_told, wake_its_runner

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """What the deliverer is told, and the job whose next step is still to be taken (``advance_soon``)."""

    answer: SubmitResponse
    advancing: str | None = None


Answer = Taken | EdgeproofError


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was handed in: a DSSE envelope's canonical bytes under a run's lease; ``runner`` is who signed.

    ``by_hand`` is the principal who delivers in its stead.
    """

    runner: Principal
    run_id: str
    lease: Lease
    envelope: bytes
    by_hand: str | None = None

    @property
    def digest(self) -> str:
        return sha256_hex(self.envelope)


@dataclass(frozen=True, slots=True)
class _Verified:
    """A result that is what its job spec asked for; whether its lease still holds is yet to be seen."""

    delivery: Delivery
    digest: str
    job_id: str
    stage: str
    result: Result


@dataclass(slots=True)
class _Rows:
    """What a transaction stores, column by column, as ``STORE_RESULTS`` takes it."""

    results: list[tuple[str, str, bytes | None]] = field(default_factory=list)
    forgiven: set[str] = field(default_factory=set)
    events: EventRows = field(default_factory=EventRows)
    references: list[tuple[str, str, str]] = field(default_factory=list)
    models: list[ModelMetrics] = field(default_factory=list)
    hardware: list[HardwareMetrics] = field(default_factory=list)

    def add(self, one: _Verified, run: Row, body: bytes | None) -> None:
        self.results.append((one.delivery.run_id, one.digest, body))
        if run["struck"]:
            self.forgiven.add(run["runner_id"])
        self._tell(run, "metadata", run_told(run, "COMPLETE"))
        named = sorted([(one.result.role, one.digest), *one.result.outputs.items()], key=lambda it: it[1])
        for role, digest in named:
            self.references.append((run["job_id"], digest, role))
            self._tell(run, "artifact", {"run_id": run["run_id"], "role": role, "digest": digest})
        self.models += one.result.models
        self.hardware += one.result.hardware

    def columns(self) -> tuple[Any, ...]:
        return (
            *_columns(self.results, 3),
            sorted(self.forgiven),
            *self.events.columns(),
            *_columns(self.references, 3),
            self.models,
            self.hardware,
        )

    def _tell(self, run: Row, type_: EventType, data: dict[str, Any]) -> None:
        """An ended job gets no event: its last one is the one that told its end."""
        if run["status"] not in TERMINAL:
            self.events.add(run["job_id"], type_, data)


async def deliver(plane: ControlPlane, deliveries: Sequence[Delivery]) -> list[Answer]:
    """Store what holds; one answer for each delivery, in their order.

    A delivery that repeats what ended its run gets the answer of that time. Errors, one by one: ``Refused``
    with ``stale_lease``, ``different_outcome``, ``artifact_missing``, ``result_invalid``, ``not_canonical``,
    ``envelope_invalid``, ``key_unknown``, ``key_not_allowed``, ``signature_invalid``, ``statement_invalid``.
    Nothing of such a one is stored. Decisions are left to the caller: they take long.
    """
    answers: dict[int, Answer] = {}
    # Of several for one run the later ones find what became of the first.
    for now in one_of_each(deliveries, lambda one: one.run_id):
        told = await _deliver_distinct(plane, list(now.values()))
        answers |= dict(zip(now, told, strict=True))
    return [answers[number] for number in range(len(deliveries))]


async def _deliver_distinct(plane: ControlPlane, deliveries: Sequence[Delivery]) -> list[Answer]:
    answers: dict[int, Answer] = {}
    verified: dict[int, _Verified] = {}
    for number, found in (await _verify(plane, deliveries)).items():
        if isinstance(found, _Verified):
            verified[number] = found
        else:
            answers[number] = found
    if verified:
        answers |= await _store_each(plane, verified)
    for number, one in enumerate(deliveries):
        if number not in answers:
            answers[number] = await _ended(plane, one)
    return [answers[number] for number in range(len(deliveries))]


async def _ended(plane: ControlPlane, one: Delivery) -> Answer:
    try:
        outcome = await repeated_outcome(plane, one.runner, one.run_id, one.lease, one.digest)
    except EdgeproofError as error:
        return error
    return Taken(
        SubmitResponse(run_id=one.run_id, state=outcome["state"], evidence_digest=outcome["evidence_digest"])
    )


async def _verify(
    plane: ControlPlane, deliveries: Sequence[Delivery]
) -> dict[int, _Verified | EdgeproofError]:
    """By number; without one whose lease does not hold."""
    held = await plane.database.pool.fetch(HELD_LEASES, *_leases(deliveries))
    asked = [await _asked(plane, row) for row in held]

    def verify() -> dict[int, _Verified | EdgeproofError]:
        return {
            row["number"] - 1: _verified(deliveries[row["number"] - 1], row, one, plane.keys.signing.public)
            for row, one in zip(held, asked, strict=True)
        }

    # Not on the loop that renews leases.
    return await asyncio.to_thread(verify)


def _verified(one: Delivery, row: Row, asked: Asked, server: PublicKey) -> _Verified | EdgeproofError:
    try:
        result = check_result(one.envelope, asked, server)
    except EdgeproofError as error:
        return error
    return _Verified(one, one.digest, row["job_id"], row["stage"], result)


async def _asked(plane: ControlPlane, row: Row) -> Asked:
    """What the runner was asked, and by which policy it will be judged."""
    spec, policy = row["job_spec"], row["policy"]
    if spec is None:
        spec = await load_document(plane, row["job_spec_digest"])
    if policy is None and row["stage"] == "runtime":
        policy = await load_document(plane, row["policy_digest"])
    return Asked(row["job_spec_digest"], spec, policy)


async def _store_each(plane: ControlPlane, verified: dict[int, _Verified]) -> dict[int, Answer]:
    """All together; if that does not go, each alone, its job's step left to be taken."""
    try:
        return await _store(plane, verified, stepping=True)
    except (*AWAY, OSError):
        raise
    except Exception:
        _logger.exception("%s results could not be stored together", len(verified))
    answers: dict[int, Answer] = {}
    for number, one in verified.items():
        try:
            answers |= await _store(plane, {number: one}, stepping=False)
        except EdgeproofError as error:
            answers[number] = error
        except (*AWAY, OSError):
            raise
        except Exception:
            with _about(one):
                _logger.exception("the result could not be stored")
            answers[number] = Unavailable("internal_error")
    return answers


async def _store(plane: ControlPlane, verified: dict[int, _Verified], *, stepping: bool) -> dict[int, Answer]:
    """Without an answer for those whose lease was lost meanwhile."""
    answers: dict[int, Answer] = {}
    numbers = list(verified)
    largest = max(len(one.delivery.envelope) for one in verified.values())
    async with keeping_transaction(plane, largest) as connection:
        runs: dict[int, Row] = {
            numbers[run["number"] - 1]: run
            for run in await connection.fetch(
                LOCK_LEASES, *_leases([one.delivery for one in verified.values()])
            )
        }
        if not runs:
            return answers
        good: dict[int, Row] = {}
        for number, fault in (await _faults(connection, verified, runs)).items():
            if fault is None:
                good[number] = runs[number]
            else:
                answers[number] = fault
        if not good:
            return answers
        rows = _Rows()
        for number, run in good.items():
            one = verified[number]
            rows.add(one, run, await _kept_elsewhere(plane, connection, one.delivery.envelope))
        await connection.execute(STORE_RESULTS, *rows.columns())
        for number in good:
            await _tell_by_hand(connection, verified[number])
        jobs = {run["job_id"]: run for run in good.values()}
        for job_id in jobs:
            await wake_readers(connection, job_id)
        for run in good.values():
            await wake_its_runner(connection, run)
        left = await step_all(plane, connection, list(jobs.values()), stepping=stepping)
    for number, run in good.items():
        answers[number] = _taken(plane, verified[number], run["job_id"] if run["job_id"] in left else None)
    return answers


async def _tell_by_hand(connection: Connection, one: _Verified) -> None:
    """That somebody delivered in the runner's stead, whose the result itself is."""
    by, told = one.delivery.by_hand, {"attempt": one.delivery.lease.attempt, "evidence": one.digest}
    if by is not None:
        await record(connection, by, "result.delivered_by_hand", one.delivery.run_id, told)


def _taken(plane: ControlPlane, one: _Verified, advancing: str | None) -> Taken:
    plane.meters.submissions.labels(one.stage).inc()
    with _about(one):
        _logger.info("result taken, evidence sha256:%s", one.digest)
    answer = SubmitResponse(run_id=one.delivery.run_id, state="COMPLETE", evidence_digest=one.digest)
    return Taken(answer, advancing)


def _about(one: _Verified) -> AbstractContextManager[None]:
    """What comes one by one is served together, in the context of none."""
    delivery = one.delivery
    return about(job_id=one.job_id, run_id=delivery.run_id, runner_id=delivery.runner.runner_id)


async def _faults(
    connection: Connection, verified: dict[int, _Verified], runs: dict[int, Row]
) -> dict[int, Refused | None]:
    """What stands against each whose lease holds."""
    rows = await connection.fetch(
        NAMED_ARTIFACTS,
        [verified[number].delivery.runner.principal_id for number in runs],
        [run["job_id"] for run in runs.values()],
        [verified[number].result.runner_key for number in runs],
        [verified[number].result.outputs for number in runs],
    )
    faults: dict[int, Refused | None] = {}
    for number, row in zip(runs, sorted(rows, key=lambda row: int(row["number"])), strict=True):
        try:
            if not row["allowed"]:
                raise Refused("key_not_allowed")
            check_outputs(verified[number].result, row["sizes"])
        except Refused as error:
            faults[number] = error
        else:
            faults[number] = None
    return faults


async def _kept_elsewhere(plane: ControlPlane, connection: Connection, envelope: bytes) -> bytes | None:
    """The envelope, if it is to lie in the database; None once the store has it."""
    if len(envelope) <= MOST_KEPT_HERE:
        return envelope
    await keep_bytes(plane, connection, envelope)
    return None


def _leases(deliveries: Sequence[Delivery]) -> tuple[list[Any], ...]:
    return _columns(
        [(one.run_id, one.lease.attempt, one.lease.digest, one.runner.runner_id) for one in deliveries], 4
    )


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> tuple[list[Any], ...]:
    return tuple([row[at] for row in rows] for at in range(width))
