"""Who gets which run, and when."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import Capabilities, ClaimRequest
from edgeproof.contract.statements import JobSpecStatement, open_statement
from edgeproof.domain.runs import Lease
from edgeproof.server.queue.claim import claim

from .conftest import listening


async def test_concurrent_claims_never_give_a_run_twice_and_leave_none(yard: Any) -> None:
    jobs = [await yard.analyze() for _ in range(8)]
    workers = [yard.one, yard.two] * 10
    claimed = await asyncio.gather(*(worker.claim() for worker in workers))
    runs = [one.run_id for one in claimed if one is not None]
    assert len(runs) == len(set(runs)) == 16
    expected = {run.run_id for job in jobs for run in job.runs}
    assert set(runs) == expected


async def test_the_oldest_run_comes_first_and_priority_before_age(yard: Any) -> None:
    jobs = [await yard.analyze() for _ in range(3)]
    urgent = jobs[2].runs[1].run_id
    await yard.plane.database.pool.execute("UPDATE run_queue SET priority = 1 WHERE run_id = $1", urgent)
    assert (await yard.one.take()).run_id == urgent
    rest = [(await yard.one.take()).job_id for _ in range(5)]
    assert rest == [jobs[0].job_id] * 2 + [jobs[1].job_id] * 2 + [jobs[2].job_id]


async def test_the_job_spec_is_signed_and_bound_to_this_lease(yard: Any) -> None:
    job = await yard.analyze(precision="fp32")
    claimed = await yard.one.take()
    envelope = claimed.job_spec.encode()
    spec = open_statement(envelope, yard.plane.keys.signing.public, JobSpecStatement, what="spec").predicate
    assert (spec.job_id, spec.run_id, spec.attempt) == (job.job_id, claimed.run_id, claimed.attempt)
    assert spec.lease_digest == Lease(claimed.attempt, claimed.lease_token).digest
    assert spec.runner_key == yard.one.key.public.base64
    assert spec.config.source == yard.model
    query = "SELECT role FROM job_artifacts WHERE job_id = $1 AND digest = $2"
    role = await yard.plane.database.pool.fetchval(query, job.job_id, sha256_hex(envelope))
    assert role == "job-spec"
    assert claimed.lease_token.encode() not in envelope


async def test_only_a_runner_that_can_do_it_gets_a_run_and_the_job_says_what_is_missing(yard: Any) -> None:
    job = await yard.analyze(precision="fp16")
    lacking = {run.role: run.waiting_for for run in job.runs}
    assert lacking == {"baseline": (), "candidate": ("precision fp16 (has fp32)",)}
    assert (await yard.one.take()).run_id == next(r.run_id for r in job.runs if r.role == "baseline")
    assert await yard.one.claim() is None


async def test_capabilities_told_with_a_claim_count_at_once(yard: Any) -> None:
    job = await yard.analyze()
    nothing = Capabilities(device_class="x", cpu_count=1, memory_bytes=1, isolation="none")
    assert await claim(yard.plane, yard.one.principal, ClaimRequest(capabilities=nothing)) is None
    assert await yard.one.claim() is None
    assert (await yard.two.take()).job_id == job.job_id


async def test_a_named_runner_gets_the_run_and_nobody_else(yard: Any) -> None:
    job = await yard.analyze(runner=yard.two.principal.runner_id)
    assert await yard.one.claim() is None
    assert (await yard.two.take()).job_id == job.job_id
    with pytest.raises(Refused, match="unknown_runner"):
        await yard.analyze(runner="runner-nobody")


async def test_runs_that_name_another_runner_stand_in_nobodys_way(yard: Any) -> None:
    named = await yard.analyze(runner=yard.two.principal.runner_id)
    anybodys = await yard.analyze()
    assert [(await yard.one.take()).job_id for _ in range(2)] == [anybodys.job_id] * 2
    assert await yard.one.claim() is None
    assert [(await yard.two.take()).job_id for _ in range(2)] == [named.job_id] * 2


async def test_a_runs_own_runner_takes_what_is_older_named_or_not(yard: Any) -> None:
    named = await yard.analyze(runner=yard.two.principal.runner_id)
    anybodys = await yard.analyze()
    later = await yard.analyze(runner=yard.two.principal.runner_id)
    order = [(await yard.two.take()).job_id for _ in range(6)]
    assert order == [named.job_id] * 2 + [anybodys.job_id] * 2 + [later.job_id] * 2


async def test_only_runners_claim(yard: Any) -> None:
    with pytest.raises(Refused, match="forbidden"):
        await claim(yard.plane, yard.user, ClaimRequest())


async def test_a_waiting_claim_is_woken_by_a_new_job(yard: Any) -> None:
    waiting = asyncio.create_task(yard.one.claim(wait_seconds=30))
    await listening(yard)
    job = await yard.analyze()
    # Below the polling fallback, so that only a wake-up can have done it.
    claimed = await asyncio.wait_for(waiting, 10)
    assert claimed.job_id == job.job_id


async def test_a_waiting_claim_ends_when_its_time_is_up_or_the_server_stops(yard: Any) -> None:
    assert await asyncio.wait_for(yard.one.claim(wait_seconds=0.05), 10) is None
    waiting = asyncio.create_task(yard.one.claim(wait_seconds=30))
    await listening(yard)
    yard.plane.stopping.set()
    assert await asyncio.wait_for(waiting, 10) is None


async def test_classes_are_matched_when_capabilities_change_and_not_at_each_claim(yard: Any) -> None:
    await yard.analyze()
    worker, pool = yard.one, yard.plane.database.pool
    matched = "SELECT array_agg(xmin::text || ctid::text) FROM runner_classes WHERE runner_id = $1"
    text = "SELECT capabilities FROM runners WHERE runner_id = $1"
    known = msgspec.convert(await pool.fetchval(text, worker.principal.runner_id), Capabilities)
    rows = await pool.fetchval(matched, worker.principal.runner_id)
    assert rows
    await claim(worker.plane, worker.principal, ClaimRequest(capabilities=known))
    assert await pool.fetchval(matched, worker.principal.runner_id) == rows
    less = msgspec.structs.replace(known, backends=(), toolchains=())
    await claim(worker.plane, worker.principal, ClaimRequest(capabilities=less))
    assert await pool.fetchval(matched, worker.principal.runner_id) is None
