"""Attempts end somewhere: in the list of dead letters, from which an operator sends the work out again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edgeproof.contract.errors import Refused
from edgeproof.server.audit.audit import list_entries
from edgeproof.server.jobs.dead_letters import dead_letters, requeue
from edgeproof.server.plane.control_plane import Principal, Settings
from edgeproof.server.plane.principals import authenticate, create_principal
from edgeproof.server.runs.queue_stats import queue_stats


@pytest.fixture
def settings() -> Settings:
    return Settings(public_url="http://127.0.0.1:7411", max_attempts=2, quarantine_after=0)


@pytest.fixture
async def operator(yard: Any) -> Principal:
    return await authenticate(yard.plane, await create_principal(yard.plane, "admin", "operator"))


async def use_up(yard: Any) -> Any:
    """A job whose attempts are used up."""
    job = await yard.analyze()
    first = await yard.one.take()
    assert await yard.one.fail(first, retryable=True) == "PENDING"
    again = await yard.one.take()
    assert (again.run_id, again.attempt) == (first.run_id, 2)
    assert await yard.one.fail(again, retryable=True, code="stage_crashed") == "FAILED"
    return await yard.job(job.job_id)


async def test_a_run_without_attempts_left_is_a_dead_letter(yard: Any, operator: Principal) -> None:
    job = await use_up(yard)
    (letter,) = (await dead_letters(yard.plane, operator)).runs
    assert (letter.job_id, letter.attempts, letter.failure.code) == (job.job_id, 2, "stage_crashed")
    assert letter.retried_by is None
    assert (await queue_stats(yard.plane, operator)).dead == 1


async def test_a_failure_that_no_attempt_would_mend_is_none(yard: Any, operator: Principal) -> None:
    await yard.analyze()
    await yard.one.fail(await yard.one.take(), retryable=False)
    assert (await dead_letters(yard.plane, operator)).runs == ()


async def test_done_again_it_is_a_new_job_and_the_old_one_stays(yard: Any, operator: Principal) -> None:
    old = await use_up(yard)
    new = await requeue(yard.plane, operator, old.job_id)
    assert (new.retry_of, new.status, new.input_summary) == (old.job_id, "queued", old.input_summary)
    assert {run.run_id for run in new.runs}.isdisjoint(run.run_id for run in old.runs)
    assert await requeue(yard.plane, yard.user, old.job_id) == new
    assert await yard.job(old.job_id) == old
    assert (await dead_letters(yard.plane, operator)).runs[0].retried_by == new.job_id
    await yard.one.work_off()
    assert (await yard.job(new.job_id)).status == "completed"
    assert await yard.job(old.job_id) == old


async def test_asked_at_once_it_is_done_once(yard: Any, operator: Principal) -> None:
    old = await use_up(yard)
    views = await asyncio.gather(*(requeue(yard.plane, operator, old.job_id) for _ in range(5)))
    assert len({view.job_id for view in views}) == 1
    assert await yard.plane.database.pool.fetchval("SELECT count(*) FROM jobs") == 2
    (told,) = (await list_entries(yard.plane, operator, subject=old.job_id)).entries
    assert (told.actor, told.act) == (operator.principal_id, "job.requeued")
    assert told.data == {"as": views[0].job_id}


async def test_only_a_failed_job_of_ones_own_is_done_again(yard: Any, operator: Principal) -> None:
    running = await yard.analyze()
    with pytest.raises(Refused, match="conflict"):
        await requeue(yard.plane, operator, running.job_id)
    stranger = await authenticate(yard.plane, await create_principal(yard.plane, "user", "stranger"))
    with pytest.raises(Refused, match="not_found"):
        await requeue(yard.plane, stranger, running.job_id)
    with pytest.raises(Refused, match="forbidden"):
        await requeue(yard.plane, yard.one.principal, running.job_id)
    with pytest.raises(Refused, match="forbidden"):
        await dead_letters(yard.plane, yard.user)


async def test_the_list_comes_in_pages_newest_first(yard: Any, operator: Principal) -> None:
    jobs = [(await use_up(yard)).job_id for _ in range(3)]
    seen: list[str] = []
    cursor = None
    while True:
        page = await dead_letters(yard.plane, operator, cursor=cursor, limit=2)
        seen += [letter.job_id for letter in page.runs]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == jobs[::-1]


async def test_a_cursor_that_no_page_gave_is_refused(yard: Any, operator: Principal) -> None:
    await use_up(yard)
    await yard.analyze()
    alive = await yard.one.take()
    await yard.one.fail(alive, retryable=False)
    for cursor in ("zz", "", alive.run_id):
        with pytest.raises(Refused, match="invalid_request"):
            await dead_letters(yard.plane, operator, cursor=cursor)


async def test_the_queue_tells_how_it_stands(yard: Any, operator: Principal) -> None:
    await yard.analyze()
    await yard.one.take()
    stats = await queue_stats(yard.plane, operator)
    assert (stats.pending, stats.leased, stats.expired, stats.dead) == (1, 1, 0, 0)
    assert (stats.active_runners, stats.draining_runners, stats.quarantined_runners) == (2, 0, 0)
    assert sum(one.pending for one in stats.classes) == 1
    assert all(one.runners == 2 and one.needs.stage == "forge" for one in stats.classes)
    with pytest.raises(Refused, match="forbidden"):
        await queue_stats(yard.plane, yard.user)


async def test_a_waiting_run_shows_its_place(yard: Any) -> None:
    jobs = [await yard.analyze(preset="source") for _ in range(3)]
    places = [[run.queue_position for run in (await yard.job(job.job_id)).runs] for job in jobs]
    assert sorted(place for of_job in places for place in of_job) == [1, 2, 3, 4, 5, 6]
    assert max(places[0]) < min(places[1]) < max(places[1]) < min(places[2])
    taken = await yard.one.take()
    moved = {run.run_id: run.queue_position for run in (await yard.job(jobs[0].job_id)).runs}
    assert moved.pop(taken.run_id) is None
    assert list(moved.values()) == [1]
