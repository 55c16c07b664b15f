"""The fence: whoever lost a lease can write nothing any more, and an outcome is stored once."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import Any

import pytest

from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import Progress
from edgeproof.contract.runners import ClaimRequest, FailRequest, HeartbeatRequest
from edgeproof.domain.runs import Lease
from edgeproof.server.artifacts.artifacts import open_artifact, put_artifact
from edgeproof.server.fleet.runners import show_runner
from edgeproof.server.plane.control_plane import Principal
from edgeproof.server.queue.claim import claim_runs
from edgeproof.server.queue.fail import fail
from edgeproof.server.queue.heartbeat import heartbeat
from edgeproof.server.queue.reap import Patience, reap
from edgeproof.server.runs import queue_sql
from edgeproof.testing.answers import answer

from .conftest import waiting


async def code(awaitable: Any) -> str:
    with pytest.raises(Refused) as refused:
        await awaitable
    return refused.value.code


def lease_of(claimed: Any) -> Lease:
    return Lease(claimed.attempt, claimed.lease_token)


async def reap_now(yard: Any) -> int:
    """Reap without patience: a reaper that has waited its first lease."""
    patience = Patience(timedelta(0))
    return await reap(yard.plane, patience)


async def bytes_of(data: bytes) -> Any:
    yield data


async def beat(yard: Any, worker: Any, claimed: Any, lease: Lease | None = None) -> Any:
    return await heartbeat(
        yard.plane, worker.principal, claimed.run_id, lease or lease_of(claimed), HeartbeatRequest()
    )


async def lost_and_claimed_again(yard: Any) -> tuple[Any, Any]:
    """The same run: one's lease was reaped, two holds the next."""
    await yard.analyze()
    other = await yard.two.take()
    first = await yard.one.take()
    await yard.expire(first.run_id)
    assert await reap_now(yard) == 1
    again = await yard.two.take()
    assert again.run_id == first.run_id
    assert again.attempt == first.attempt + 1
    await yard.two.work(other)
    return first, again


async def everything_that_writes(yard: Any, claimed: Any, lease: Lease, worker: Any) -> list[str]:
    made = worker.answer(claimed)
    digest = hashlib.sha256(made.uploads[0]).hexdigest()
    request = FailRequest(code="build_failed", message="", fault="user", retryable=False)
    args = (yard.plane, worker.principal)
    return [
        await code(beat(yard, worker, claimed, lease)),
        await code(worker.submit(claimed, made.envelope, lease)),
        await code(fail(*args, claimed.run_id, lease, request)),
        await code(
            put_artifact(*args, digest, bytes_of(made.uploads[0]), run_id=claimed.run_id, lease=lease)
        ),
        await code(open_artifact(*args, yard.model, run_id=claimed.run_id, lease=lease)),
    ]


async def test_a_lost_lease_writes_nothing(yard: Any) -> None:
    first, again = await lost_and_claimed_again(yard)
    assert set(await everything_that_writes(yard, first, lease_of(first), yard.one)) == {"stale_lease"}
    assert (await yard.two.work(again)).state == "COMPLETE"
    assert set(await everything_that_writes(yard, first, lease_of(first), yard.one)) == {"stale_lease"}


async def test_a_reaped_lease_writes_nothing_though_nobody_claimed_again(yard: Any) -> None:
    await yard.analyze()
    first = await yard.one.take()
    await yard.expire(first.run_id)
    assert await reap_now(yard) == 1
    assert set(await everything_that_writes(yard, first, lease_of(first), yard.one)) == {"stale_lease"}


async def test_every_part_of_the_lease_is_fenced(yard: Any) -> None:
    first, again = await lost_and_claimed_again(yard)
    mixed = [
        (Lease(first.attempt, again.lease_token), yard.two),
        (Lease(again.attempt, first.lease_token), yard.two),
        (lease_of(again), yard.one),
    ]
    for lease, worker in mixed:
        assert await code(beat(yard, worker, again, lease)) == "stale_lease"
        made = yard.two.answer(again)
        assert await code(worker.submit(again, made.envelope, lease)) == "stale_lease"
    assert not (await beat(yard, yard.two, again)).cancel_requested


async def test_a_heartbeat_under_an_expired_lease_is_refused_a_submit_is_not(yard: Any) -> None:
    await yard.analyze()
    claimed = await yard.one.take()
    made = yard.one.answer(claimed)
    await yard.one.upload(claimed, made)
    await yard.expire(claimed.run_id)
    assert await code(beat(yard, yard.one, claimed)) == "stale_lease"
    assert (await yard.one.submit(claimed, made.envelope)).state == "COMPLETE"


async def test_a_heartbeat_extends_the_lease_and_tells_progress_once(yard: Any) -> None:
    job = await yard.analyze()
    claimed = await yard.one.take()
    request = HeartbeatRequest(progress=Progress(completed=1, total=4, unit="blocks"))
    args = (yard.plane, yard.one.principal, claimed.run_id, lease_of(claimed), request)
    answers = [await heartbeat(*args) for _ in range(2)]
    # The second says nothing new, and most of the lease is left: nothing is written.
    assert claimed.lease_expires_at < answers[0].lease_expires_at == answers[1].lease_expires_at
    await yard.plane.database.pool.execute(
        "UPDATE run_queue SET lease_expires_at = lease_expires_at - interval '30 s' WHERE run_id = $1",
        claimed.run_id,
    )
    assert (await heartbeat(*args)).lease_expires_at > answers[0].lease_expires_at
    told = "SELECT data FROM job_events WHERE job_id = $1 AND type = 'progress'"
    rows = await yard.plane.database.pool.fetch(told, job.job_id)
    assert [row["data"]["completed"] for row in rows] == [1]
    shown = next(run for run in (await yard.job(job.job_id)).runs if run.run_id == claimed.run_id)
    assert shown.progress == request.progress
    started = "SELECT started_at FROM run_queue WHERE run_id = $1"
    assert await yard.plane.database.pool.fetchval(started, claimed.run_id) is not None


async def test_the_same_submission_again_gives_the_same_answer_another_is_refused(yard: Any) -> None:
    await yard.analyze()
    claimed = await yard.one.take()
    made, other = yard.one.answer(claimed), yard.one.answer(claimed, nonce=1)
    await yard.one.upload(claimed, made)
    first = await yard.one.submit(claimed, made.envelope)
    assert await yard.one.submit(claimed, made.envelope) == first
    assert await code(yard.one.submit(claimed, other.envelope)) == "different_outcome"
    request = FailRequest(code="build_failed", message="", fault="user", retryable=False)
    failing = fail(yard.plane, yard.one.principal, claimed.run_id, lease_of(claimed), request)
    assert await code(failing) == "different_outcome"


async def test_two_different_submissions_at_once_store_one(yard: Any) -> None:
    await yard.analyze()
    claimed = await yard.one.take()
    answers = [yard.one.answer(claimed, nonce=nonce) for nonce in range(6)]
    await yard.one.upload(claimed, answers[0])
    results = await asyncio.gather(
        *(yard.one.submit(claimed, one.envelope) for one in answers), return_exceptions=True
    )
    refused = [one for one in results if isinstance(one, Refused)]
    assert [one.code for one in refused] == ["different_outcome"] * 5
    assert len(results) - len(refused) == 1


async def test_a_result_is_refused_unless_signed_complete_and_made_for_this_lease(yard: Any) -> None:
    await yard.analyze()
    one, two = await yard.one.take(), await yard.two.take()
    made = yard.one.answer(one)
    assert await code(yard.one.submit(one, made.envelope)) == "artifact_missing"
    forged = answer(one.job_spec.encode(), SigningKey.generate())
    assert await code(yard.one.submit(one, forged.envelope)) == "key_unknown"
    borrowed = answer(two.job_spec.encode(), yard.one.key)
    assert await code(yard.one.submit(one, borrowed.envelope)) == "result_invalid"
    assert await code(yard.one.submit(one, made.envelope + b" ")) == "not_canonical"
    assert await code(yard.one.submit(one, one.job_spec.encode())) == "key_unknown"
    await yard.one.upload(one, made)
    assert (await yard.one.submit(one, made.envelope)).state == "COMPLETE"


async def test_naming_a_strangers_artifact_is_not_having_uploaded_it(yard: Any) -> None:
    await yard.analyze()
    claimed = await yard.one.take()
    made = yard.one.answer(claimed)
    digest = hashlib.sha256(made.uploads[0]).hexdigest()
    await put_artifact(yard.plane, yard.user, digest, bytes_of(made.uploads[0]))
    assert await code(yard.one.submit(claimed, made.envelope)) == "artifact_missing"


async def test_what_the_runner_says_that_it_does_is_shown_while_it_holds_the_run(
    yard: Any, admin: Principal
) -> None:
    job = await yard.analyze()
    claimed = await yard.one.take()

    async def shown() -> list[str | None]:
        (of_job,) = [run for run in (await yard.job(job.job_id)).runs if run.run_id == claimed.run_id]
        runner = await show_runner(yard.plane, admin, yard.one.principal.runner_id)
        return [of_job.status_text, *(run.status_text for run in runner.holding)]

    async def say(status: str | None) -> None:
        request = HeartbeatRequest(status=status)
        await heartbeat(yard.plane, yard.one.principal, claimed.run_id, lease_of(claimed), request)

    assert await shown() == [None, None]
    await say("waiting for the device")
    await say("measuring")
    await say(None)
    assert await shown() == ["measuring", "measuring"]
    await yard.one.work(claimed)
    assert await shown() == [None]


async def test_a_claim_ends_the_leases_that_its_runner_does_not_know_of(yard: Any) -> None:
    """A runner that was killed, or never got a claim's answer, does not wait for its own lease to expire."""
    await yard.analyze()
    lost = await yard.one.take()
    other = await yard.two.take()
    again = await yard.one.claim(holding=())
    assert (again.run_id, again.attempt) == (lost.run_id, lost.attempt + 1)
    assert set(await everything_that_writes(yard, lost, lease_of(lost), yard.one)) == {"stale_lease"}
    assert (await beat(yard, yard.two, other)).cancel_requested is False


async def test_a_claim_keeps_the_leases_that_its_runner_names_or_says_nothing_of(yard: Any) -> None:
    await yard.analyze()
    held = await yard.one.take()
    named = await yard.one.claim(holding=(held.run_id,))
    assert named.run_id != held.run_id
    assert await yard.one.claim(holding=(held.run_id, named.run_id)) is None
    assert await yard.one.claim() is None
    for claimed in (held, named):
        await beat(yard, yard.one, claimed)


@pytest.mark.parametrize("late", [6, 7])
async def test_a_claim_that_comes_late_or_twice_ends_nothing_and_gets_nothing(yard: Any, late: int) -> None:
    """Its sender has given up on it, and holds a lease by a claim of its number or a later one."""
    await yard.analyze()
    held = await yard.one.claim(holding=(), number=7)
    assert await yard.one.claim(holding=(), number=late, wait_seconds=0.01) is None
    await beat(yard, yard.one, held)
    after = await yard.one.claim(holding=(held.run_id,), number=8)
    assert after.run_id != held.run_id


async def test_a_later_claim_ends_what_an_earlier_was_given_unheard(yard: Any) -> None:
    await yard.analyze()
    lost = await yard.one.claim(holding=(), number=7)
    again = await yard.one.claim(holding=(), number=8)
    assert (again.run_id, again.attempt) == (lost.run_id, lost.attempt + 1)


async def test_claims_whose_answers_were_lost_use_up_no_attempts(yard: Any) -> None:
    job = await yard.analyze()
    run_id = (await yard.one.claim(holding=(), number=1)).run_id
    for number in range(2, yard.plane.settings.max_attempts + 2):
        again = await yard.one.claim(holding=(), number=number)
        assert (again.run_id, again.attempt) == (run_id, number)
    # This one was heard of: what ends it counts.
    await beat(yard, yard.one, again)
    most = await yard.plane.database.pool.fetchval(
        "SELECT max_attempts FROM run_queue WHERE run_id = $1", run_id
    )
    assert most == again.attempt + yard.plane.settings.max_attempts - 1
    await yard.one.claim(holding=(), number=number + 1)
    left = "SELECT max_attempts FROM run_queue WHERE run_id = $1"
    assert await yard.plane.database.pool.fetchval(left, run_id) == most
    assert (await yard.job(job.job_id)).status == "running"
    labels = {"stage": "forge", "fault": "infrastructure", "code": "lease_expired"}
    counted = yard.plane.meters.registry.get_sample_value("edgeproof_run_failures_total", labels)
    assert counted == yard.plane.settings.max_attempts + 1


async def test_a_batch_is_one_claim_whatever_classes_it_is_of(yard: Any) -> None:
    await yard.analyze()
    await yard.analyze(threads=2)
    await yard.analyze(runner=yard.one.principal.runner_id)
    got = await claim_runs(yard.plane, yard.one.principal, ClaimRequest(holding=(), number=1, max_runs=6))
    assert len({run.run_id for run in got.runs}) == 6


async def test_of_two_claims_that_wait_the_later_is_given_the_run(yard: Any) -> None:
    """The first is longer here, but nobody hears its answer any more."""
    first = asyncio.create_task(yard.one.claim(wait_seconds=30, holding=(), number=7))
    await waiting(yard, 1)
    second = asyncio.create_task(yard.one.claim(wait_seconds=30, holding=(), number=8))
    await waiting(yard, 2)
    await yard.analyze()
    claimed = await asyncio.wait_for(second, 20)
    assert claimed is not None
    assert not first.done()
    await beat(yard, yard.one, claimed)
    # And the run that is left is for another runner, at once.
    assert (await asyncio.wait_for(yard.two.claim(wait_seconds=30), 20)) is not None
    assert not first.done()
    first.cancel()


async def test_heartbeats_touch_no_index(yard: Any) -> None:
    """PostgreSQL's own count: every update by a heartbeat stays on its page (HOT)."""
    await yard.analyze()
    claimed = await yard.one.take()
    pool = yard.plane.database.pool
    count = (
        "SELECT pg_stat_get_xact_tuples_updated(oid) AS updated,"
        " pg_stat_get_xact_tuples_hot_updated(oid) AS hot FROM pg_class WHERE relname = 'run_queue'"
    )
    arguments = (
        [yard.one.principal.runner_id],
        [claimed.run_id],
        [claimed.attempt],
        [lease_of(claimed).digest],
        90.0,
        {},
    )
    async with pool.acquire() as connection, connection.transaction():
        (before,) = await connection.fetch(count)
        # Few enough for the versions of one transaction, which nothing can clear away, to fit on a page.
        for number in range(5):
            progress = Progress(completed=number, unit="blocks")
            rows = await connection.fetch(queue_sql.HEARTBEAT, *arguments, [progress], ["at work"])
            assert len(rows) == 1
        (told,) = await connection.fetch(count)
    assert (told["updated"] - before["updated"], told["hot"] - before["hot"]) == (5, 5)
