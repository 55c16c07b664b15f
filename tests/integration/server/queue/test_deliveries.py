"""Results of many runners in one transaction: each is stored or refused by itself, and moves its job on."""

from __future__ import annotations

import asyncio
from typing import Any

from edgeproof.contract.errors import Refused, Unavailable
from edgeproof.contract.runners import ClaimRequest
from edgeproof.server.jobs.advance import sweep
from edgeproof.server.plane.events import job_events
from edgeproof.server.queue.claim import claim_runs
from edgeproof.server.queue.deliver import Delivery, Taken, deliver

from .conftest import lease_of

REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.{column} = '{value}' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()
"""


async def claimed_by(worker: Any, count: int) -> Any:
    return (await claim_runs(worker.plane, worker.principal, ClaimRequest(max_runs=count))).runs


async def delivery_of(worker: Any, claimed: Any) -> Delivery:
    made = worker.answer(claimed)
    await worker.upload(claimed, made)
    return Delivery(worker.principal, claimed.run_id, lease_of(claimed), made.envelope)


async def test_results_of_several_runners_go_together_and_move_their_jobs_on(yard: Any) -> None:
    jobs = [await yard.analyze() for _ in range(3)]
    deliveries = [
        await delivery_of(worker, claimed)
        for worker in (yard.one, yard.two)
        for claimed in await claimed_by(worker, 3)
    ]
    answers = await deliver(yard.plane, deliveries)
    assert [answer.answer.run_id for answer in answers] == [one.run_id for one in deliveries]
    assert {type(answer) for answer in answers} == {Taken}
    for job in jobs:
        shown = await yard.job(job.job_id)
        states = {run.stage: run.state for run in shown.runs if run.stage == "runtime"}
        assert states == {"runtime": "PENDING"}
    waiting = "SELECT count(*) FROM jobs WHERE needs_advance"
    assert await yard.plane.database.pool.fetchval(waiting) == 0


async def test_a_jobs_events_are_numbered_without_a_gap_and_tell_each_run_once(yard: Any) -> None:
    job = await yard.analyze()
    await deliver(yard.plane, [await delivery_of(yard.one, one) for one in await claimed_by(yard.one, 2)])
    events = await told(yard, job.job_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.data for event in events if event.type == "status"] == [
        {"status": "queued"}, {"status": "running"},
    ]  # fmt: skip
    ended = [event.data["run_id"] for event in events if event.data.get("state") == "COMPLETE"]
    assert sorted(ended) == sorted(run.run_id for run in job.runs)


async def told(yard: Any, job_id: str) -> list[Any]:
    """Until both builds and what they made were told of."""
    events: list[Any] = []
    async for event in job_events(yard.plane, yard.user, job_id):
        events.append(event)
        if [one.type for one in events].count("artifact") == 4:
            break
    return events


async def test_one_that_the_database_does_not_take_is_not_the_others_trouble(yard: Any) -> None:
    jobs = [await yard.analyze(), await yard.analyze()]
    runs = await claimed_by(yard.one, 4)
    deliveries = [await delivery_of(yard.one, claimed) for claimed in runs]
    pool = yard.plane.database.pool
    await pool.execute(REFUSING.format(column="run_id", value=runs[1].run_id, table="run_model_metrics"))
    answers = await deliver(yard.plane, deliveries)
    assert [type(answer) for answer in answers].count(Taken) == 3
    assert isinstance(answers[1], Unavailable) and answers[1].code == "internal_error"
    states = {run.run_id: run.state for job in jobs for run in (await yard.job(job.job_id)).runs}
    assert [states[run.run_id] for run in runs] == ["COMPLETE", "CLAIMED", "COMPLETE", "COMPLETE"]
    await pool.execute("DROP TRIGGER refuse ON run_model_metrics")
    answers = await deliver(yard.plane, deliveries)
    assert {type(answer) for answer in answers} == {Taken}


async def test_a_result_is_kept_when_its_jobs_next_step_cannot_be_taken(yard: Any) -> None:
    job = await yard.analyze()
    deliveries = [await delivery_of(yard.one, claimed) for claimed in await claimed_by(yard.one, 2)]
    pool = yard.plane.database.pool
    await pool.execute(REFUSING.format(column="stage", value="runtime", table="runs"))
    answers = await deliver(yard.plane, deliveries)
    assert {type(answer) for answer in answers} == {Taken}
    assert {run.state for run in (await yard.job(job.job_id)).runs} == {"COMPLETE"}
    await pool.execute("DROP TRIGGER refuse ON runs")
    assert await sweep(yard.plane) == 1
    assert {run.stage for run in (await yard.job(job.job_id)).runs if run.state == "PENDING"} == {"runtime"}


async def test_of_a_result_that_is_delivered_twice_at_once_one_is_stored(yard: Any) -> None:
    await yard.analyze()
    claimed = await yard.one.take()
    one = await delivery_of(yard.one, claimed)
    both = await asyncio.gather(deliver(yard.plane, [one]), deliver(yard.plane, [one, one]))
    answers = [answer for told in both for answer in told]
    assert len({answer.answer.evidence_digest for answer in answers}) == 1
    assert await yard.plane.database.pool.fetchval("SELECT count(*) FROM run_outcomes") == 1


async def test_many_who_submit_one_by_one_are_served_together_and_each_gets_its_own(yard: Any) -> None:
    for _ in range(6):
        await yard.analyze()
    runs = await claimed_by(yard.one, 12)
    made = {claimed.run_id: yard.one.answer(claimed) for claimed in runs}
    for claimed in runs[1:]:
        await yard.one.upload(claimed, made[claimed.run_id])
    answers = await asyncio.gather(
        *(yard.one.submit(claimed, made[claimed.run_id].envelope) for claimed in runs), return_exceptions=True
    )
    assert isinstance(answers[0], Refused) and answers[0].code == "artifact_missing"
    assert [one.run_id for one in answers[1:]] == [claimed.run_id for claimed in runs[1:]]
