"""A job completed by hand goes its whole road, and no runner can write into it afterwards."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edgeproof.cli import exits
from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import HeartbeatRequest
from edgeproof.lab.dev_bundle import OBJECTS
from edgeproof.server.artifacts.evidence import list_evidence
from edgeproof.server.audit.audit import list_entries
from edgeproof.server.jobs.cancel import cancel
from edgeproof.server.jobs.complete_dev import complete_dev
from edgeproof.server.plane.control_plane import ControlPlane, Principal, Settings
from edgeproof.server.plane.events import job_events
from edgeproof.server.queue.heartbeat import heartbeat

from .conftest import lease_of

BUNDLE: dict[str, Any] = {
    **{name: {} for name in OBJECTS},
    "summary": {"deployment_decision": "deployable"},
    "deployment_decision": {"decision": "deployable"},
}


@pytest.fixture
def settings() -> Settings:
    return Settings(public_url="http://127.0.0.1:7411", dev=True)


async def code(work: Any) -> str:
    with pytest.raises(Refused) as refused:
        await work
    return refused.value.code


async def statuses(yard: Any, job_id: str) -> list[str]:
    events = [event async for event in job_events(yard.plane, yard.user, job_id)]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return [event.data["status"] for event in events if event.type == "status"]


async def test_who_completed_a_job_by_hand_is_audited(yard: Any, admin: Principal) -> None:
    job_id = (await yard.analyze()).job_id
    await complete_dev(yard.plane, yard.user, job_id, BUNDLE)
    assert await code(complete_dev(yard.plane, yard.user, job_id, BUNDLE)) == "job_terminal"
    (told,) = (await list_entries(yard.plane, admin, subject=job_id)).entries
    assert (told.actor, told.act) == (yard.user.principal_id, "job.completed_by_hand")


async def test_a_queued_job_goes_its_whole_road(yard: Any) -> None:
    job = await yard.analyze(precision="fp32")
    done = await complete_dev(yard.plane, yard.user, job.job_id, BUNDLE)
    assert (done.status, done.next_actions) == ("completed", ("review_deployment_decision",))
    assert await statuses(yard, job.job_id) == ["queued", "running", "completed"]
    assert {run.state for run in done.runs} == {"CANCELLED"}
    assert done.result["deployment_decision"]["basis"] == "unsigned"
    assert exits.of_job(done) == exits.REVIEW
    assert await yard.one.claim() is None
    assert (await list_evidence(yard.plane, yard.user, job.job_id)).items == ()


async def test_a_leased_run_is_taken_away(yard: Any) -> None:
    job = await yard.analyze(precision="fp32")
    held = await yard.one.take()
    made = yard.one.answer(held)
    await yard.one.upload(held, made)
    done = await complete_dev(yard.plane, yard.user, job.job_id, BUNDLE)
    assert {run.state for run in done.runs} == {"CANCELLED"}
    beat = heartbeat(
        yard.plane, yard.one.principal, held.run_id, lease_of(held), HeartbeatRequest(status="running")
    )
    assert await code(beat) == "stale_lease"
    assert await code(yard.one.submit(held, made.envelope)) in ("stale_lease", "different_outcome")
    assert await yard.job(job.job_id) == done


async def test_once_and_never_again(yard: Any) -> None:
    job = await yard.analyze(precision="fp32")
    attempts = [complete_dev(yard.plane, yard.user, job.job_id, BUNDLE) for _ in range(4)]
    ended = await asyncio.gather(*attempts, return_exceptions=True)
    refused = [one.code for one in ended if isinstance(one, Refused)]
    assert (len(ended) - len(refused), set(refused)) == (1, {"job_terminal"})
    assert await statuses(yard, job.job_id) == ["queued", "running", "completed"]


async def test_an_ended_job_is_409_and_a_bad_bundle_changes_nothing(yard: Any) -> None:
    job = await yard.analyze(precision="fp32")
    assert await code(complete_dev(yard.plane, yard.user, job.job_id, {})) == "invalid_request"
    assert (await yard.job(job.job_id)).status == "queued"
    await cancel(yard.plane, yard.user, job.job_id)
    assert await code(complete_dev(yard.plane, yard.user, job.job_id, BUNDLE)) == "job_terminal"


async def test_whose_job_it_is(yard: Any, another_user: Any, admin: Any) -> None:
    job = await yard.analyze(precision="fp32")
    assert await code(complete_dev(yard.plane, another_user, job.job_id, BUNDLE)) == "not_found"
    assert await code(complete_dev(yard.plane, admin, job.job_id, BUNDLE)) == "forbidden"


async def test_without_dev_there_is_no_such_route(control_plane: ControlPlane, yard: Any) -> None:
    plain = ControlPlane(
        control_plane.database, control_plane.artifacts, control_plane.keys, Settings(public_url="http://x")
    )
    job = await yard.analyze(precision="fp32")
    assert await code(complete_dev(plain, yard.user, job.job_id, BUNDLE)) == "not_found"
    assert (await yard.job(job.job_id)).status == "queued"
