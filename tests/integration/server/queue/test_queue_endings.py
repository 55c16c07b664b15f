"""How jobs end other than well: failures, lost runners, cancelling; and what a crash leaves to the sweep."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import HeartbeatRequest
from edgeproof.domain.runs import Lease
from edgeproof.server.audit.audit import list_entries
from edgeproof.server.jobs.advance import sweep
from edgeproof.server.jobs.cancel import cancel
from edgeproof.server.jobs.decide import decide
from edgeproof.server.plane.control_plane import Principal
from edgeproof.server.queue.heartbeat import heartbeat
from edgeproof.server.queue.reap import Patience, reap, run_reaper
from edgeproof.server.queue.revoke import end_unlisted_leases

STUCK = """
CREATE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF OLD.run_id = '{run_id}' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$;
CREATE TRIGGER stay BEFORE UPDATE OF state ON run_queue FOR EACH ROW EXECUTE FUNCTION stay()
"""


def lease_of(claimed: Any) -> Lease:
    return Lease(claimed.attempt, claimed.lease_token)


async def reap_now(yard: Any) -> int:
    return await reap(yard.plane, Patience(timedelta(0)))


async def cancel_seen(yard: Any, worker: Any, claimed: Any) -> bool:
    told = await heartbeat(
        yard.plane, worker.principal, claimed.run_id, lease_of(claimed), HeartbeatRequest()
    )
    return bool(told.cancel_requested)


async def test_a_failure_for_good_fails_the_job_with_its_stage_and_stops_the_rest(yard: Any) -> None:
    job = await yard.analyze()
    one, two = await yard.one.take(), await yard.two.take()
    assert await yard.one.fail(one, retryable=False, code="model_invalid") == "FAILED"
    assert await yard.one.fail(one, retryable=False, code="model_invalid") == "FAILED"
    failed = await yard.job(job.job_id)
    assert (failed.status, failed.result) == ("failed", None)
    assert (failed.error.code, failed.error.stage) == ("model_invalid", "forge")
    assert await cancel_seen(yard, yard.two, two)
    assert (await yard.two.work(two)).state == "COMPLETE"
    assert (await yard.job(job.job_id)).status == "failed"


async def test_a_failure_takes_waiting_runs_out_of_the_queue(yard: Any) -> None:
    job = await yard.analyze()
    await yard.one.fail(await yard.one.take(), retryable=False)
    assert await yard.two.claim() is None
    states = sorted(run.state for run in (await yard.job(job.job_id)).runs)
    assert states == ["CANCELLED", "FAILED"]


async def test_a_retryable_failure_is_tried_again_until_attempts_run_out(yard: Any) -> None:
    job = await yard.analyze()
    first = await yard.one.take()
    attempts = []
    claimed = first
    for expected in ("PENDING", "PENDING", "FAILED"):
        attempts.append(claimed.attempt)
        assert await yard.one.fail(claimed, retryable=True, code="stage_crashed") == expected
        if expected == "PENDING":
            claimed = await yard.one.take()
            assert claimed.run_id == first.run_id
    assert attempts == [1, 2, 3]
    assert (await yard.job(job.job_id)).error.code == "stage_crashed"


async def test_a_run_that_is_handed_back_again_and_again_keeps_its_attempts(yard: Any) -> None:
    """A runner that stops, or is upgraded, is nobody's fault; but no run goes round for ever."""
    job = await yard.analyze()
    first = claimed = await yard.one.take()
    for _ in range(3):
        state = await yard.one.fail(claimed, retryable=True, code="handed_back", fault="infrastructure")
        assert state == "PENDING"
        claimed = await yard.one.take()
        assert claimed.run_id == first.run_id
    # All three attempts are left, of which this is the first.
    for expected in ("PENDING", "PENDING", "FAILED"):
        state = await yard.one.fail(claimed, retryable=True, code="stage_crashed", fault="backend")
        assert state == expected
        if state == "PENDING":
            claimed = await yard.one.take()
    assert claimed.attempt == 6
    assert (await yard.job(job.job_id)).error.code == "stage_crashed"
    other = await yard.analyze()
    claimed = await yard.one.take()
    ends = []
    while claimed is not None and claimed.job_id == other.job_id:
        run_id = claimed.run_id
        ends.append(await yard.one.fail(claimed, retryable=True, code="handed_back", fault="infrastructure"))
        claimed = await yard.one.claim() if ends[-1] == "PENDING" else None
        assert claimed is None or claimed.run_id == run_id
    assert ends == ["PENDING"] * 5 + ["FAILED"]


async def test_an_unknown_failure_code_is_kept_as_evidence_of_a_known_one(yard: Any) -> None:
    job = await yard.analyze()
    await yard.one.fail(await yard.one.take(), retryable=False, code="of_another_release")
    error = (await yard.job(job.job_id)).error
    assert error.code == "stage_crashed"
    assert error.evidence[0] == {"code": "of_another_release"}
    assert (error.fault, error.retryable) == ("user", False)


async def test_lost_runners_until_attempts_run_out_fail_the_job_with_lease_expired(yard: Any) -> None:
    job = await yard.analyze()
    run_id = None
    for _ in range(3):
        claimed = await yard.one.take()
        assert run_id in (None, claimed.run_id)
        run_id = claimed.run_id
        await yard.expire(run_id)
        assert await reap_now(yard) == 1
    await sweep(yard.plane)
    failed = await yard.job(job.job_id)
    assert (failed.status, failed.error.code, failed.error.stage) == ("failed", "lease_expired", "forge")


async def test_a_lost_runners_run_is_done_by_another_and_the_job_completes_once(yard: Any) -> None:
    job = await yard.analyze()
    lost = await yard.one.take()
    await yard.expire(lost.run_id)
    assert await reap_now(yard) == 1
    assert await yard.two.work_off() == 3
    done = await yard.job(job.job_id)
    assert done.status == "completed", done.error
    assert sorted(run.attempt for run in done.runs) == [1, 1, 2]


async def test_live_leases_are_not_reaped(yard: Any) -> None:
    await yard.analyze()
    await yard.one.take()
    assert await reap_now(yard) == 0


@pytest.mark.parametrize("why", ["expired", "its key was removed"])
async def test_one_runs_trouble_does_not_keep_the_others_leased(yard: Any, why: str) -> None:
    await yard.analyze()
    stuck, other = await yard.one.take(), await yard.one.take()
    pool = yard.plane.database.pool
    # The order in which they expired is that in which they are ended.
    for claimed in (stuck, other):
        await yard.expire(claimed.run_id)
    if why != "expired":
        await pool.execute("UPDATE runner_keys SET removed_at = clock_timestamp()")

    async def end() -> int:
        return await (reap_now(yard) if why == "expired" else end_unlisted_leases(yard.plane))

    await pool.execute(STUCK.format(run_id=stuck.run_id))
    assert await end() == 1
    held = await pool.fetch("SELECT run_id FROM run_queue WHERE state = 'CLAIMED'")
    assert [row["run_id"] for row in held] == [stuck.run_id]
    await pool.execute("DROP TRIGGER stay ON run_queue")
    assert await end() == 1


async def test_mass_expiry_waits_one_lease(yard: Any) -> None:
    await yard.analyze()
    claimed = await yard.one.take()
    patience = Patience(timedelta(0))
    assert await reap(yard.plane, patience) == 0
    await yard.expire(claimed.run_id)
    patient = Patience(timedelta(hours=1))
    assert await reap(yard.plane, patient) == 0, "it has just started"
    assert await reap(yard.plane, patience) == 0, "all leases expired at once"
    assert await reap(yard.plane, patience) == 1


async def test_a_queued_job_is_cancelled_at_once_and_its_runs_with_it(yard: Any) -> None:
    job = await yard.analyze()
    assert (await cancel(yard.plane, yard.user, job.job_id)).status == "cancelled"
    assert await yard.one.claim() is None
    assert (await cancel(yard.plane, yard.user, job.job_id)).status == "cancelled"


async def test_who_asked_for_a_job_to_be_cancelled_is_audited_once(yard: Any, admin: Principal) -> None:
    job = await yard.analyze()
    await yard.one.take()
    await cancel(yard.plane, admin, job.job_id)
    await cancel(yard.plane, yard.user, job.job_id)
    (told,) = (await list_entries(yard.plane, admin, subject=job.job_id)).entries
    assert (told.actor, told.act) == (admin.principal_id, "job.cancel_requested")


@pytest.mark.parametrize("finished", [0, 2])
@pytest.mark.parametrize("ending", ["fail", "submit", "lost"])
async def test_a_leased_run_is_told_and_the_job_is_cancelled_when_its_lease_ends(
    yard: Any, finished: int, ending: str
) -> None:
    job = await yard.analyze()
    for _ in range(finished):
        await yard.one.work(await yard.one.take())
    claimed = await yard.one.take()
    assert not await cancel_seen(yard, yard.one, claimed)
    asked = await cancel(yard.plane, yard.user, job.job_id)
    assert (asked.status, asked.cancel_requested_at is None) == ("running", False)
    assert await yard.two.claim() is None
    assert await cancel_seen(yard, yard.one, claimed)
    if ending == "fail":
        assert await yard.one.fail(claimed, retryable=True, code="cancelled") == "CANCELLED"
    elif ending == "submit":
        await yard.one.work(claimed)
    else:
        await yard.expire(claimed.run_id)
        await reap_now(yard)
        await sweep(yard.plane)
    ended = await yard.job(job.job_id)
    assert (ended.status, ended.result, ended.error) == ("cancelled", None, None)


async def test_an_ended_job_cannot_be_cancelled_and_a_strangers_is_not_there(
    yard: Any, another_user: Any
) -> None:
    job = await yard.analyze()
    with pytest.raises(Refused, match="not_found"):
        await cancel(yard.plane, another_user, job.job_id)
    await yard.one.work_off()
    with pytest.raises(Refused, match="job_terminal"):
        await cancel(yard.plane, yard.user, job.job_id)


async def test_cancel_and_claim_at_once_leave_no_run_behind(yard: Any) -> None:
    for _ in range(10):
        job = await yard.analyze()
        _, *claims = await asyncio.gather(
            cancel(yard.plane, yard.user, job.job_id), yard.one.claim(), yard.two.claim()
        )
        for worker, claimed in zip((yard.one, yard.two), claims, strict=True):
            if claimed is not None:
                await worker.fail(claimed, retryable=True, code="cancelled")
        await sweep(yard.plane)
        assert (await yard.job(job.job_id)).status == "cancelled"
    assert await yard.plane.database.pool.fetchval("SELECT count(*) FROM run_queue") == 0


async def test_the_sweep_takes_up_what_a_crash_left(yard: Any) -> None:
    job = await yard.analyze()
    for _ in range(2):
        await yard.one.work(await yard.one.take())
    # As if the server had died between storing the second build and taking the next step.
    pool = yard.plane.database.pool
    pair = "SELECT run_id FROM runs WHERE job_id = $1 AND stage = 'runtime'"
    run_id = await pool.fetchval(pair, job.job_id)
    await pool.execute("DELETE FROM run_queue WHERE run_id = $1", run_id)
    await pool.execute("DELETE FROM runs WHERE run_id = $1", run_id)
    await pool.execute("UPDATE jobs SET needs_advance = true WHERE job_id = $1", job.job_id)
    assert await sweep(yard.plane) == 1
    assert await sweep(yard.plane) == 0
    assert await yard.one.work_off() == 1
    assert (await yard.job(job.job_id)).status == "completed"


async def test_a_claim_leaves_a_run_whose_job_is_being_cancelled(yard: Any) -> None:
    job = await yard.analyze()
    leased = await yard.one.take()
    # As if the server had died between noting the wish and taking the waiting run out of the queue.
    await yard.plane.database.pool.execute(
        "UPDATE jobs SET cancel_requested_at = clock_timestamp() WHERE job_id = $1", job.job_id
    )
    assert await yard.two.claim() is None
    states = {run.run_id: run.state for run in (await yard.job(job.job_id)).runs}
    assert states.pop(leased.run_id) == "CLAIMED"
    assert list(states.values()) == ["CANCELLED"]


async def test_one_jobs_trouble_does_not_stop_the_sweep(yard: Any) -> None:
    jobs = [await yard.analyze() for _ in range(2)]
    pool = yard.plane.database.pool
    await pool.execute("UPDATE jobs SET input_summary = '{}' WHERE job_id = $1", jobs[0].job_id)
    await pool.execute(
        "UPDATE jobs SET cancel_requested_at = clock_timestamp() WHERE job_id = $1", jobs[1].job_id
    )
    await pool.execute("UPDATE jobs SET needs_advance = true")
    assert await sweep(yard.plane) == 2
    assert [(await yard.job(job.job_id)).status for job in jobs] == ["queued", "cancelled"]


async def test_a_lease_is_reaped_while_the_sweep_waits_for_decisions(yard: Any) -> None:
    decided = await yard.analyze()
    await yard.one.work_off()
    pool = yard.plane.database.pool
    await pool.execute("UPDATE jobs SET status = 'running', result = NULL, needs_advance = true")
    await yard.analyze()
    lost = await yard.one.take()
    await yard.expire(lost.run_id)
    quick = replace(yard.plane.settings, lease_seconds=0.05, reap_interval_seconds=0.01)
    plane = replace(yard.plane, settings=quick, judging=asyncio.Semaphore(0))
    reaper = asyncio.create_task(run_reaper(plane))
    state = "SELECT state FROM run_queue WHERE run_id = $1"
    async with asyncio.timeout(10):
        while await pool.fetchval(state, lost.run_id) != "PENDING":
            await asyncio.sleep(0.01)
    assert (await yard.job(decided.job_id)).status == "running"
    plane.judging.release()
    async with asyncio.timeout(10):
        while (await yard.job(decided.job_id)).status != "completed":
            await asyncio.sleep(0.01)
    plane.stopping.set()
    await asyncio.wait_for(reaper, 10)


@pytest.mark.parametrize("ending", ["completed", "cancel_requested"])
async def test_no_job_is_judged_that_wants_no_decision_any_more(yard: Any, ending: str) -> None:
    """Who waited for its turn to judge while another judged, or while the owner cancelled."""
    job = await yard.analyze()
    await yard.one.work_off()
    pool = yard.plane.database.pool
    if ending == "cancel_requested":
        await pool.execute(
            "UPDATE jobs SET status = 'running', result = NULL, cancel_requested_at = clock_timestamp()"
        )
    # Judging needs the results that there are.
    await pool.execute("UPDATE run_outcomes SET evidence_digest = repeat('0', 64)")
    await decide(yard.plane, job.job_id)
    assert (await yard.job(job.job_id)).error is None


async def test_the_reaper_runs_until_the_server_stops(yard: Any) -> None:
    job = await yard.analyze()
    await yard.plane.database.pool.execute(
        "UPDATE jobs SET cancel_requested_at = clock_timestamp(), needs_advance = true WHERE job_id = $1",
        job.job_id,
    )
    reaper = asyncio.create_task(run_reaper(yard.plane))
    async with asyncio.timeout(10):
        while (await yard.job(job.job_id)).status != "cancelled":
            await asyncio.sleep(0.01)
    yard.plane.stopping.set()
    await asyncio.wait_for(reaper, 10)
