"""Signed claim → heartbeat → submit cycles, singly and in batches, and the share of cryptography in them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from edgeproof.bench.queue.ground import BUILT, Ground, SimulatedRunner
from edgeproof.bench.queue.wire import Wire, demand
from edgeproof.contract.base import Wire as Message
from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.envelope import open_envelope
from edgeproof.contract.runners import (
    ClaimedRun,
    ClaimedRuns,
    HeartbeatAnswers,
    HeartbeatBatch,
    HeartbeatItem,
    SubmitAnswers,
    SubmitBatch,
    SubmitItem,
)
from edgeproof.contract.statements import BuildStatement, JobSpecStatement, open_statement
from edgeproof.domain.runs import Lease
from edgeproof.testing.answers import answer_to

_ROUNDS: Final = 100
_SAMPLES: Final = 4
_ONE: Final = msgspec.json.Decoder(ClaimedRun)
_MANY: Final = msgspec.json.Decoder(ClaimedRuns)
_BEATEN: Final = msgspec.json.Decoder(HeartbeatAnswers)
_SUBMITTED: Final = msgspec.json.Decoder(SubmitAnswers)
_TABLE: Final = """
SELECT n_tup_upd, n_tup_hot_upd, n_live_tup, n_dead_tup, pg_relation_size(relid) AS bytes
FROM pg_stat_user_tables WHERE relname = 'run_queue'
"""


class Cycles(Message, frozen=True, kw_only=True):
    """``signing_ms`` is what all sealing and opening of one cycle takes on both sides, JSON included, and
    ``ed25519_ms`` the mere curve arithmetic in it; the share is ``signing_ms`` of both cores' time.

    Dead rows of the run queue at four moments; of its row updates ``hot_share`` touched no index.
    """

    runners: int
    cycles: int
    seconds: float
    per_second: float
    signing_ms: float
    ed25519_ms: float
    signing_share: float
    dead_rows: tuple[int, ...]
    table_bytes: tuple[int, ...]
    hot_share: float


@dataclass(slots=True)
class _Count:
    done: int = 0
    spec: bytes = b""


async def single(ground: Ground, runners: Sequence[SimulatedRunner], seconds: float) -> Cycles:
    """Every runner on a connection of its own, one run at a time, for ``seconds`` or until none is left."""

    async def work(runner: SimulatedRunner, until: float, count: _Count) -> None:
        async with Wire(ground.host, ground.port, runner.token) as wire:
            while time.perf_counter() < until:
                status, body = await wire.post("/api/queue/claim", b"{}")
                if status == 204:
                    return
                run = _ONE.decode(demand(status, body))
                lease = Lease(run.attempt, run.lease_token).header()
                spec = count.spec = run.job_spec.encode()
                demand(*await wire.post(f"/api/queue/{run.run_id}/heartbeat", b"{}", lease))
                envelope = _signed(ground, runner, spec)
                demand(*await wire.post(f"/api/queue/{run.run_id}/submit", envelope, lease))
                count.done += 1

    return await _measure(ground, runners, seconds, work)


async def batched(
    ground: Ground, runners: Sequence[SimulatedRunner], seconds: float, size: int = 64
) -> Cycles:
    """As ``single``, ``size`` runs a call."""
    claim = msgspec.json.encode({"max_runs": size})

    async def work(runner: SimulatedRunner, until: float, count: _Count) -> None:
        async with Wire(ground.host, ground.port, runner.token) as wire:
            while time.perf_counter() < until:
                status, body = await wire.post("/api/queue/claim", claim)
                if status == 204:
                    return
                runs = _MANY.decode(demand(status, body)).runs
                leases = [Lease(run.attempt, run.lease_token).header() for run in runs]
                beats = [
                    HeartbeatItem(run_id=run.run_id, lease=lease)
                    for run, lease in zip(runs, leases, strict=True)
                ]
                sent = msgspec.json.encode(HeartbeatBatch(items=tuple(beats)))
                beaten = _BEATEN.decode(demand(*await wire.post("/api/queue/heartbeat", sent)))
                count.spec = runs[0].job_spec.encode()
                items = [
                    SubmitItem(
                        run_id=run.run_id,
                        lease=lease,
                        envelope=_signed(ground, runner, run.job_spec.encode()).decode(),
                    )
                    for run, lease in zip(runs, leases, strict=True)
                ]
                sent = msgspec.json.encode(SubmitBatch(items=tuple(items)))
                ended = _SUBMITTED.decode(demand(*await wire.post("/api/queue/submit", sent)))
                if any(one.problem for one in beaten.items) or any(one.problem for one in ended.items):
                    raise OSError("an item of a batch was refused")
                count.done += len(runs)

    return await _measure(ground, runners, seconds, work)


def _signed(ground: Ground, runner: SimulatedRunner, spec: bytes) -> bytes:
    """What a runner does: it refuses a spec that the control plane did not sign, and signs its result."""
    told = open_statement(spec, ground.trusted, JobSpecStatement, what="job spec").predicate
    return answer_to(told, sha256_hex(spec), runner.key, built=BUILT).envelope


Work = Callable[[SimulatedRunner, float, _Count], Awaitable[None]]


async def _measure(ground: Ground, runners: Sequence[SimulatedRunner], seconds: float, work: Work) -> Cycles:
    count, pool = _Count(), ground.plane.database.pool
    samples: list[Any] = []

    async def sample() -> None:
        for _ in range(_SAMPLES):
            await asyncio.sleep(seconds / _SAMPLES)
            samples.extend(await pool.fetch(_TABLE))

    (before,) = await pool.fetch(_TABLE)
    sampling = asyncio.create_task(sample())
    started = time.perf_counter()
    try:
        await asyncio.gather(*(work(runner, started + seconds, count) for runner in runners))
        took = time.perf_counter() - started
    finally:
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
    # What a backend counted reaches the statistics when it has been idle for a moment.
    await asyncio.sleep(1)
    samples += await pool.fetch(_TABLE)
    signing, curve = _signing_seconds(ground, runners[0], count.spec)
    updates = samples[-1]["n_tup_upd"] - before["n_tup_upd"]
    return Cycles(
        runners=len(runners),
        cycles=count.done,
        seconds=round(took, 3),
        per_second=round(count.done / took, 1),
        signing_ms=round(signing * 1e3, 3),
        ed25519_ms=round(curve * 1e3, 3),
        signing_share=round(signing * count.done / took / (os.cpu_count() or 1), 3),
        dead_rows=tuple(one["n_dead_tup"] for one in samples),
        table_bytes=tuple(one["bytes"] for one in samples),
        hot_share=round((samples[-1]["n_tup_hot_upd"] - before["n_tup_hot_upd"]) / max(1, updates), 3),
    )


def _signing_seconds(ground: Ground, runner: SimulatedRunner, spec: bytes) -> tuple[float, float]:
    """Of one cycle: sealing and opening spec and result on both sides, and the curve arithmetic alone."""
    key = ground.plane.keys.signing
    result = _signed(ground, runner, spec)
    payloads = open_envelope(spec, ground.trusted), open_envelope(result, runner.key.public)

    def both() -> None:
        key.seal(payloads[0])
        open_statement(spec, ground.trusted, JobSpecStatement, what="job spec")
        runner.key.seal(payloads[1])
        # The server opens both: the spec that it gave, whose signature it knows again, and the result.
        open_statement(spec, key.public, JobSpecStatement, what="job spec")
        open_statement(result, runner.key.public, BuildStatement, what="build")

    def curve() -> None:
        for _ in range(2):
            signature = key.sign_in_domain("bench", payloads[0])
        for _ in range(2):
            key.public.verify(signature, payloads[0])

    return _seconds(both), _seconds(curve)


def _seconds(work: Callable[[], None]) -> float:
    """Of processor time: other work on the machine disturbs it less."""
    started = time.thread_time()
    for _ in range(_ROUNDS):
        work()
    return (time.thread_time() - started) / _ROUNDS
