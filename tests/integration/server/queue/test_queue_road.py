"""The whole road of a job through the queue, with runners that answer at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edgeproof.contract.canonical import canonical, decode_canonical
from edgeproof.contract.envelope import open_envelope
from edgeproof.contract.statements import DecisionEnvelopeStatement
from edgeproof.server.artifacts.documents import load_document
from edgeproof.server.artifacts.evidence import list_evidence
from edgeproof.server.plane.events import append_event, job_events
from edgeproof.testing.evidence import Scene


async def test_a_job_goes_from_queued_to_a_signed_decision(yard: Any) -> None:
    job = await yard.analyze(precision="fp32")
    assert (job.status, job.result, len(job.runs)) == ("queued", None, 2)
    first = await yard.one.take()
    assert (await yard.job(job.job_id)).status == "running"
    await yard.one.work(first)
    assert await yard.two.work_off(Scene(ratio=0.5, images=1000)) == 2
    done = await yard.job(job.job_id)
    assert done.status == "completed", done.error
    decided = done.result["deployment_decision"]
    assert decided["decision"] == "deployable", decided["reasons"]
    assert [run.state for run in done.runs] == ["COMPLETE"] * 3
    items = (await list_evidence(yard.plane, yard.user, job.job_id)).items
    kinds = sorted(item.kind for item in items)
    assert kinds == sorted(
        ["decision", "build", "build", "measurement", "policy", "quality", "samples"]
        + ["job-spec"] * 3
        + ["receipt"] * 3
    )
    envelope = await load_document(yard.plane, items[0].digest)
    payload = open_envelope(envelope, yard.plane.keys.signing.public)
    decision = decode_canonical(payload, DecisionEnvelopeStatement, what="decision")
    assert canonical(decision) == payload
    assert decision.predicate.job_id == job.job_id


async def test_the_worker_request_is_kept_when_the_job_leaves_queued(yard: Any) -> None:
    job = await yard.analyze(engine="onnxruntime", device="cpu")
    query = "SELECT worker_request FROM jobs WHERE job_id = $1"
    assert await yard.plane.database.pool.fetchval(query, job.job_id) is None
    await yard.one.take()
    request = await yard.plane.database.pool.fetchval(query, job.job_id)
    assert request["requested_at"] == job.updated_at
    assert request["options"]["backend"] == "onnxruntime"
    assert "engine" not in request["options"]


async def test_a_jobs_events_are_numbered_without_a_gap_and_end_with_its_end(yard: Any) -> None:
    job = await yard.analyze()
    await yard.one.work_off()
    events = [event async for event in job_events(yard.plane, yard.user, job.job_id)]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    statuses = [event.data["status"] for event in events if event.type == "status"]
    assert statuses == ["queued", "running", "completed"]
    assert events[-1].data["status"] == "completed"
    again = [event.seq async for event in job_events(yard.plane, yard.user, job.job_id, after=3)]
    assert again == [event.seq for event in events[3:]]


async def test_events_written_at_once_are_numbered_without_a_gap(yard: Any) -> None:
    job = await yard.analyze()

    async def write(number: int) -> None:
        async with yard.plane.database.transaction() as connection:
            await append_event(connection, job.job_id, "log", {"number": number})

    await asyncio.gather(*(write(number) for number in range(30)))
    rows = await yard.plane.database.pool.fetch(
        "SELECT seq FROM job_events WHERE job_id = $1 ORDER BY seq", job.job_id
    )
    assert [row["seq"] for row in rows] == list(range(1, 32))


async def test_a_follower_is_woken_by_each_event_and_let_go_when_the_server_stops(yard: Any) -> None:
    job = await yard.analyze()
    events = job_events(yard.plane, yard.user, job.job_id)
    assert (await anext(events)).data == {"status": "queued"}
    following = asyncio.ensure_future(anext(events))
    await yard.one.take()
    # Below the polling fallback, so that only a wake-up can have done it.
    assert (await asyncio.wait_for(following, 4)).data == {"status": "running"}
    assert (await anext(events)).type == "metadata"
    following = asyncio.ensure_future(anext(events))
    yard.plane.stopping.set()
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(following, 4)


async def test_evidence_that_does_not_hold_fails_the_job_in_lab_validation(yard: Any) -> None:
    job = await yard.analyze(precision="fp32")
    await yard.one.work_off(Scene(pairs=9))
    failed = await yard.job(job.job_id)
    assert failed.status == "failed"
    assert (failed.error.code, failed.error.stage) == ("chain_broken", "lab_validation")
    assert failed.result is None
    assert (await list_evidence(yard.plane, yard.user, job.job_id)).items == ()
