"""Draining, quarantine and release: who gets no more work, why, and how that ends."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobError
from edgeproof.contract.runners import ClaimRequest, FailRequest, HeartbeatRequest, RunnerStanding
from edgeproof.domain.runs import Lease
from edgeproof.server.audit.audit import list_entries
from edgeproof.server.fleet.runners import list_runners
from edgeproof.server.fleet.standing import count_strike, set_standing
from edgeproof.server.plane.control_plane import ControlPlane, Principal, Settings
from edgeproof.server.plane.principals import authenticate, create_principal
from edgeproof.server.queue.claim import Claim, claim_runs
from edgeproof.server.queue.fail import NO_STRIKES, fail
from edgeproof.server.queue.heartbeat import heartbeat
from edgeproof.server.queue.reap import Patience, reap


@pytest.fixture
def settings() -> Settings:
    return Settings(public_url="http://127.0.0.1:7411", quarantine_after=2, max_attempts=10)


@pytest.fixture
async def operator(yard: Any) -> Principal:
    return await authenticate(yard.plane, await create_principal(yard.plane, "admin", "operator"))


async def asked(worker: Any, **request: Any) -> Claim:
    return await claim_runs(worker.plane, worker.principal, ClaimRequest(**request))


async def end(worker: Any, claimed: Any, fault: str, code: str = "stage_crashed") -> None:
    request = FailRequest(code=code, message="", fault=fault, retryable=True)
    lease = Lease(claimed.attempt, claimed.lease_token)
    await fail(worker.plane, worker.principal, claimed.run_id, lease, request)


async def standing_of(yard: Any, operator: Principal, worker: Any) -> tuple[str, str]:
    views = {view.runner_id: view for view in await list_runners(yard.plane, operator)}
    view = views[worker.principal.runner_id]
    return view.standing, view.standing_reason


async def acts_on(yard: Any, operator: Principal, worker: Any) -> list[tuple[str, str, str]]:
    """Who changed the runner's standing how, and why; newest first."""
    page = await list_entries(yard.plane, operator, subject=worker.principal.runner_id)
    return [(one.actor, one.act, one.data["reason"]) for one in page.entries]


async def test_a_draining_runner_finishes_what_it_holds_and_gets_nothing_new(
    yard: Any, operator: Principal
) -> None:
    await yard.analyze()
    held = await yard.one.take()
    view = await set_standing(yard.plane, operator, yard.one.principal.runner_id, "draining", "new disk")
    assert (view.standing, view.reason, view.held) == ("draining", "new disk", 1)
    refused = await asked(yard.one)
    assert (refused.runs, refused.standing, refused.reason) == ((), "draining", "new disk")
    lease = Lease(held.attempt, held.lease_token)
    await heartbeat(yard.plane, yard.one.principal, held.run_id, lease, HeartbeatRequest())
    assert (await yard.one.work(held)).state == "COMPLETE"
    assert (await yard.two.take()).job_id == held.job_id
    await set_standing(yard.plane, operator, yard.one.principal.runner_id, "active", "")
    await yard.analyze()
    assert await yard.one.claim() is not None


@pytest.mark.parametrize("standing", ["draining", "quarantined"])
async def test_release_reaches_a_claim_that_waits(
    yard: Any, operator: Principal, standing: RunnerStanding
) -> None:
    runner_id = yard.one.principal.runner_id
    await set_standing(yard.plane, operator, runner_id, standing, "")
    job = await yard.analyze()
    waiting = asyncio.create_task(yard.one.claim(wait_seconds=30))
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
    )
    async with asyncio.timeout(10):
        while await yard.plane.database.pool.fetchval(query) == 0:
            await asyncio.sleep(0.01)
    assert not waiting.done()
    await set_standing(yard.plane, operator, runner_id, "active", "")
    # Below the shortest polling pause, so that only the release's own call can have done it.
    assert (await asyncio.wait_for(waiting, 10)).job_id == job.job_id


@pytest.mark.parametrize("fault", ["infrastructure", "device"])
async def test_its_own_trouble_in_a_row_quarantines_a_runner_visibly(
    yard: Any, operator: Principal, fault: str
) -> None:
    await yard.analyze()
    for _ in range(2):
        assert await standing_of(yard, operator, yard.one) == ("active", "")
        await end(yard.one, await yard.one.take(), fault)
    standing, reason = await standing_of(yard, operator, yard.one)
    assert standing == "quarantined"
    assert "2 runs in a row" in reason
    assert "stage_crashed" in reason
    assert await acts_on(yard, operator, yard.one) == [("control-plane", "runner.quarantined", reason)]
    assert (await asked(yard.one)).standing == "quarantined"
    assert await yard.two.claim() is not None
    released = await set_standing(yard.plane, operator, yard.one.principal.runner_id, "active", "")
    assert released.standing == "active"
    await end(yard.one, await yard.one.take(), "infrastructure")
    assert (await standing_of(yard, operator, yard.one))[0] == "active"


@pytest.mark.parametrize(
    "how", ["result", "user", "backend", "handed_back", "cancelled", "disk_full", "artifact_lost"]
)
async def test_what_is_not_the_runners_trouble_does_not_count(
    yard: Any, operator: Principal, how: str
) -> None:
    await yard.analyze()
    await end(yard.one, await yard.one.take(), "infrastructure")
    claimed = await yard.one.take()
    if how == "result":
        await yard.one.work(claimed)
        await end(yard.one, await yard.one.take(), "infrastructure")
    else:
        code = how if how in NO_STRIKES else "build_failed"
        await end(yard.one, claimed, "infrastructure" if code == how else how, code)
    assert (await standing_of(yard, operator, yard.one))[0] == "active"


async def test_a_run_that_failed_by_its_device_forgives_nothing(yard: Any, operator: Principal) -> None:
    """A broken device fails run after run for good, each the last of its job."""
    for standing in ("active", "quarantined"):
        await yard.analyze()
        failed = await yard.one.fail(await yard.one.take(), retryable=False, fault="device")
        assert (failed, (await standing_of(yard, operator, yard.one))[0]) == ("FAILED", standing)


async def test_leases_lost_in_a_row_count_too(yard: Any, operator: Principal) -> None:
    await yard.analyze()
    for _ in range(2):
        await yard.expire((await yard.one.take()).run_id)
        assert await reap(yard.plane, Patience(timedelta(0))) == 1
    assert (await standing_of(yard, operator, yard.one))[0] == "quarantined"


@pytest.mark.parametrize("how", ["abandoned", "expired"])
async def test_leases_lost_at_once_count_once(yard: Any, operator: Principal, how: str) -> None:
    await yard.analyze()
    for standing in ("active", "quarantined"):
        runs = (await asked(yard.one, max_runs=2)).runs
        assert len(runs) == 2
        if how == "abandoned":
            told = await asked(yard.one, holding=(), max_runs=1)
            for one in told.runs:
                await end(yard.one, one, "infrastructure", "handed_back")
        else:
            for one in runs:
                await yard.expire(one.run_id)
            assert await reap(yard.plane, Patience(timedelta(0))) == 2
        assert (await standing_of(yard, operator, yard.one))[0] == standing


async def test_a_runner_that_says_it_is_unfit_is_quarantined_until_released(
    yard: Any, operator: Principal
) -> None:
    await yard.analyze()
    unfit = await asked(yard.one, unfit="no space is left")
    assert (unfit.runs, unfit.standing) == ((), "quarantined")
    assert "no space is left" in unfit.reason
    assert (await asked(yard.one, unfit="still none")).standing == "quarantined"
    runner_id = yard.one.principal.runner_id
    await set_standing(yard.plane, operator, runner_id, "active", "a new disk")
    assert await acts_on(yard, operator, yard.one) == [
        (operator.principal_id, "runner.active", "a new disk"),
        (runner_id, "runner.quarantined", unfit.reason),
    ]
    assert (await asked(yard.one)).runs


async def test_a_job_says_that_its_only_runners_are_held_back(yard: Any, operator: Principal) -> None:
    for worker in (yard.one, yard.two):
        await set_standing(yard.plane, operator, worker.principal.runner_id, "quarantined", "")
    job = await yard.analyze()
    for run in job.runs:
        (lack,) = run.waiting_for
        assert "quarantined" in lack
    await set_standing(yard.plane, operator, yard.two.principal.runner_id, "active", "")
    assert all(run.waiting_for == () for run in (await yard.job(job.job_id)).runs)


async def test_only_admins_decide_on_runners_that_exist(yard: Any, operator: Principal) -> None:
    for principal in (yard.user, yard.one.principal):
        with pytest.raises(Refused, match="forbidden"):
            await set_standing(yard.plane, principal, yard.one.principal.runner_id, "draining", "")
    with pytest.raises(Refused, match="not_found"):
        await set_standing(yard.plane, operator, "runner-nobody", "draining", "")


async def test_a_failure_that_forgives_waits_for_the_runner_before_it_holds_the_job(
    yard: Any, another_replica: ControlPlane
) -> None:
    """Who counts a strike for another run of the job takes the runner first, and then the job."""
    job = await yard.analyze()
    lost, failing = await yard.one.take(), await yard.one.take()
    assert lost.job_id == failing.job_id == job.job_id
    runner_id = yard.one.principal.runner_id
    await yard.plane.database.pool.execute("UPDATE runners SET strikes = 1 WHERE runner_id = $1", runner_id)
    error = JobError(code="lease_expired", message="lost", stage="forge")
    async with another_replica.database.transaction() as connection:
        await count_strike(another_replica, connection, runner_id, error)
        ending = asyncio.create_task(yard.one.fail(failing, retryable=False))
        async with asyncio.timeout(20):
            while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
        await connection.execute("SET LOCAL lock_timeout = '500ms'")
        await connection.execute("SELECT FROM jobs WHERE job_id = $1 FOR UPDATE", job.job_id)
    assert await ending == "FAILED"
    strikes = "SELECT strikes FROM runners WHERE runner_id = $1"
    assert await yard.plane.database.pool.fetchval(strikes, runner_id) == 0
