"""Many runs in one call: each is fenced and answered by itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edgeproof.contract.jobs import Progress
from edgeproof.contract.runners import ClaimRequest, HeartbeatBatch, HeartbeatItem, SubmitBatch, SubmitItem
from edgeproof.server.queue.claim import claim_runs
from edgeproof.server.queue.heartbeat import heartbeats
from edgeproof.server.queue.submit import submit_batch


async def claimed_by(worker: Any, max_runs: int) -> Any:
    return (await claim_runs(worker.plane, worker.principal, ClaimRequest(max_runs=max_runs))).runs


def header(claimed: Any) -> str:
    return f"{claimed.attempt}.{claimed.lease_token}"


async def test_a_batch_has_as_many_leases_as_asked_for_or_there_are(yard: Any) -> None:
    jobs = [await yard.analyze() for _ in range(4)]
    first, rest, none = [await claimed_by(yard.one, count) for count in (3, 64, 64)]
    assert (len(first), len(rest), len(none)) == (3, 5, 0)
    runs = {run.run_id for run in (*first, *rest)}
    assert runs == {run.run_id for job in jobs for run in job.runs}
    assert len({run.lease_token for run in (*first, *rest)}) == 8
    for run in (*first, *rest):
        assert (await yard.one.work(run)).state == "COMPLETE"


async def test_a_runner_holds_one_measuring_run_at_a_time(yard: Any) -> None:
    jobs = [await yard.analyze() for _ in range(3)]
    for run in await claimed_by(yard.one, 64):
        await yard.one.work(run)
    (measuring,) = await claimed_by(yard.one, 64)
    assert measuring.stage == "runtime"
    assert await claimed_by(yard.one, 64) == ()
    assert await yard.one.claim() is None
    (other,) = await claimed_by(yard.two, 64)
    assert other.run_id != measuring.run_id
    await yard.one.work(measuring)
    assert len(await claimed_by(yard.one, 2)) == 1
    assert len(jobs) == 3


async def test_claims_that_race_get_one_measuring_run_between_them(yard: Any) -> None:
    for _ in range(4):
        await yard.analyze()
    for run in await claimed_by(yard.one, 64):
        await yard.one.work(run)
    for _ in range(4):
        answers = await asyncio.gather(*(claimed_by(yard.one, 1) for _ in range(8)))
        (measuring,) = [run for runs in answers for run in runs]
        assert measuring.stage == "runtime" and measuring.attempt == 1
        await yard.one.work(measuring)
    assert await claimed_by(yard.one, 1) == ()


async def test_each_heartbeat_of_a_batch_is_fenced_by_itself(yard: Any) -> None:
    await yard.analyze()
    await yard.analyze()
    mine = await claimed_by(yard.one, 3)
    others = await yard.two.take()
    await yard.expire(mine[1].run_id)
    progress = Progress(completed=1, unit="blocks")
    items = [
        HeartbeatItem(run_id=mine[0].run_id, lease=header(mine[0]), progress=progress, status="building"),
        HeartbeatItem(run_id=mine[1].run_id, lease=header(mine[1])),
        HeartbeatItem(run_id=others.run_id, lease=header(others)),
        HeartbeatItem(run_id=mine[2].run_id, lease=header(mine[0])),
        HeartbeatItem(run_id=mine[2].run_id, lease="no lease"),
        HeartbeatItem(run_id=mine[2].run_id, lease=header(mine[2])),
        HeartbeatItem(run_id=mine[2].run_id, lease=header(mine[2])),
    ]
    answers = await heartbeats(yard.plane, yard.one.principal, HeartbeatBatch(items=tuple(items)))
    assert [one.run_id for one in answers.items] == [item.run_id for item in items]
    good = [one.problem is None for one in answers.items]
    assert good == [True, False, False, False, False, True, True]
    assert {one.problem.code for one in answers.items if one.problem} == {"stale_lease"}
    shown = {run.run_id: run.progress for run in (await yard.job(mine[0].job_id)).runs}
    assert shown[mine[0].run_id] == progress


async def test_of_several_heartbeats_for_one_run_the_last_stands(yard: Any) -> None:
    job = await yard.analyze()
    held = await yard.one.take()
    told = [Progress(completed=done, unit="layers") for done in (1, 2, 3)]
    items = tuple(
        HeartbeatItem(run_id=held.run_id, lease=header(held), progress=progress) for progress in told
    )
    answers = await heartbeats(yard.plane, yard.one.principal, HeartbeatBatch(items=items))
    assert [one.problem for one in answers.items] == [None] * 3
    shown = next(run for run in (await yard.job(job.job_id)).runs if run.run_id == held.run_id)
    assert shown.progress == told[-1]


async def test_each_result_of_a_batch_is_answered_by_itself(yard: Any) -> None:
    jobs = [await yard.analyze(), await yard.analyze()]
    runs = await claimed_by(yard.one, 4)
    items = []
    for run in runs:
        made = yard.one.answer(run)
        if run is not runs[3]:
            await yard.one.upload(run, made)
        items.append(SubmitItem(run_id=run.run_id, lease=header(run), envelope=made.envelope.decode()))
    forged = SubmitItem(run_id=runs[1].run_id, lease=header(runs[1]), envelope=items[2].envelope)
    stale = SubmitItem(run_id=runs[2].run_id, lease="1." + "0" * 64, envelope=items[2].envelope)
    garbage = SubmitItem(run_id=runs[2].run_id, lease=header(runs[2]), envelope="\ud800")
    batch = SubmitBatch(items=(items[0], forged, stale, items[2], items[3], items[0], garbage))
    answers = (await submit_batch(yard.plane, yard.one.principal, batch)).items
    told = [one.answer.state if one.answer else one.problem.code for one in answers]
    assert told[0] == told[3] == told[5] == "COMPLETE"
    assert told[1] == "result_invalid"
    assert told[2] == "stale_lease"
    assert told[4] == "artifact_missing"
    assert told[6] in ("not_canonical", "different_outcome")
    states = {run.run_id: run.state for job in jobs for run in (await yard.job(job.job_id)).runs}
    assert [states[run.run_id] for run in runs] == ["COMPLETE", "CLAIMED", "COMPLETE", "CLAIMED"]


@pytest.mark.parametrize("count", [1, 64])
async def test_a_batch_of_nothing_is_empty(yard: Any, count: int) -> None:
    assert await claimed_by(yard.one, count) == ()
