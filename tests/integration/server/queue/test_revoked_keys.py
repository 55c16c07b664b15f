"""A key leaves the allowlist: what it holds ends, what waits gets nothing, what rests on it needs review."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest

from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import ClaimRequest, HeartbeatRequest
from edgeproof.server.audit.audit import list_entries
from edgeproof.server.fleet.runner_keys import allow_key, list_keys, rotate_key
from edgeproof.server.jobs.jobs import list_jobs
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import authenticate, create_principal
from edgeproof.server.queue.claim import claim
from edgeproof.server.queue.heartbeat import heartbeat
from edgeproof.server.queue.revoke import end_unlisted_leases, remove_key

from .conftest import Worker, Yard, lease_of, waiting


@pytest.fixture
async def admin(control_plane: ControlPlane) -> Principal:
    return await authenticate(control_plane, await create_principal(control_plane, "admin", "operator"))


async def refusal(awaitable: Awaitable[Any]) -> str:
    with pytest.raises(Refused) as refused:
        await awaitable
    return refused.value.code


async def test_the_leases_of_a_removed_key_end_at_once(yard: Yard, admin: Principal) -> None:
    await yard.analyze()
    held = await yard.one.take()
    removed = await remove_key(yard.plane, admin, yard.one.key.public, "stolen")
    assert (removed.leases_ended, removed.withdrawn) == (1, ())
    assert (removed.key.state, removed.key.reason) == ("removed", "stolen")
    made = yard.one.answer(held)
    principal, lease = yard.one.principal, lease_of(held)
    beat = heartbeat(yard.plane, principal, held.run_id, lease, HeartbeatRequest())
    for call in (beat, yard.one.upload(held, made), yard.one.submit(held, made.envelope)):
        assert await refusal(call) == "stale_lease"
    # It waits again, for somebody else.
    again = {(await yard.two.take()).run_id, (await yard.two.take()).run_id}
    assert held.run_id in again


async def test_removals_use_up_no_attempts_but_no_run_is_taken_away_for_ever(
    yard: Yard, admin: Principal
) -> None:
    job = await yard.analyze()
    most = 2 * yard.plane.settings.max_attempts
    for attempt in range(1, most + 1):
        shown = await yard.job(job.job_id)
        assert [run.state for run in shown.runs].count("FAILED") == 0
        # The oldest is at the head again, each time.
        assert (await yard.one.take()).attempt == attempt
        await remove_key(yard.plane, admin, yard.one.key.public)
        await allow_key(yard.plane, admin, yard.one.key.public)
    shown = await yard.job(job.job_id)
    assert [run.state for run in shown.runs].count("FAILED") == 1


async def test_a_removed_key_that_waits_in_a_claim_gets_nothing(yard: Yard, admin: Principal) -> None:
    pool, runner_id = yard.plane.database.pool, yard.one.principal.runner_id
    before = await pool.fetchval(
        "UPDATE runners SET last_seen_at = last_seen_at - interval '1 minute'"
        " WHERE runner_id = $1 RETURNING last_seen_at",
        runner_id,
    )
    waiting = asyncio.create_task(yard.one.claim(wait_seconds=3))
    async with asyncio.timeout(20):
        while before == await pool.fetchval(
            "SELECT last_seen_at FROM runners WHERE runner_id = $1", runner_id
        ):
            await asyncio.sleep(0.01)
    await remove_key(yard.plane, admin, yard.one.key.public)
    await yard.analyze()
    assert await waiting is None
    assert (await yard.two.take()).attempt == 1


async def test_the_lease_itself_asks_whether_the_key_is_good(yard: Yard, admin: Principal) -> None:
    """Even where the runner's classes were not yet taken away."""
    await yard.analyze()
    await yard.plane.database.pool.execute(
        "UPDATE runner_keys SET removed_at = clock_timestamp() WHERE public_key = $1",
        yard.one.key.public.base64,
    )
    assert await yard.one.claim() is None
    assert (await yard.two.take()).attempt == 1


async def test_a_lease_that_slipped_through_is_ended_by_the_next_look(yard: Yard, admin: Principal) -> None:
    await yard.analyze()
    held = await yard.one.take()
    await yard.plane.database.pool.execute(
        "UPDATE runner_keys SET removed_at = clock_timestamp() WHERE public_key = $1",
        yard.one.key.public.base64,
    )
    assert await end_unlisted_leases(yard.plane) == 1
    assert await end_unlisted_leases(yard.plane) == 0
    assert await refusal(yard.one.submit(held, yard.one.answer(held).envelope)) == "stale_lease"


async def test_a_removed_runner_counts_as_absent(yard: Yard, admin: Principal) -> None:
    await remove_key(yard.plane, admin, yard.one.key.public)
    runner = yard.one.principal.runner_id
    assert await refusal(yard.analyze(runner=runner)) == "unknown_runner"
    await remove_key(yard.plane, admin, yard.two.key.public)
    job = await yard.analyze()
    assert all(run.waiting_for for run in (await yard.job(job.job_id)).runs)
    # Listed again, it fits its classes again without a word of its own.
    await allow_key(yard.plane, admin, yard.one.key.public)
    assert await yard.one.claim() is not None


async def test_a_job_that_names_a_runner_says_that_its_key_is_no_longer_good(
    yard: Yard, admin: Principal
) -> None:
    runner = yard.one.principal.runner_id
    job = await yard.analyze(runner=runner)
    await remove_key(yard.plane, admin, yard.one.key.public)
    told = {run.waiting_for for run in (await yard.job(job.job_id)).runs}
    assert told == {(f"the runner {runner}, which has no good key any more",)}
    await allow_key(yard.plane, admin, yard.one.key.public)
    assert all(run.waiting_for == () for run in (await yard.job(job.job_id)).runs)


async def decided(yard: Yard, worker: Worker) -> str:
    job = await yard.analyze()
    await worker.work_off()
    shown = await yard.job(job.job_id)
    assert shown.status == "completed"
    assert shown.withdrawn is None
    return job.job_id


async def test_decisions_on_evidence_since_the_compromise_need_review_again(
    yard: Yard, admin: Principal
) -> None:
    early = await decided(yard, yard.one)
    since = await yard.plane.database.now()
    late, unaffected = await decided(yard, yard.one), await decided(yard, yard.two)
    before = (await yard.job(late)).result
    assert before is not None
    signed = before["deployment_decision"]["decision"]
    removed = await remove_key(yard.plane, admin, yard.one.key.public, "stolen", since)
    assert removed.withdrawn == (late,)
    assert removed.key.state == "compromised"
    shown = await yard.job(late)
    assert shown.status == "completed"
    assert shown.withdrawn is not None
    assert (shown.withdrawn.reason, shown.withdrawn.by) == ("stolen", admin.principal_id)
    assert shown.withdrawn.signed_decision == signed
    assert shown.result is not None
    assert shown.result["deployment_decision"]["decision"] == "review_required"
    assert shown.result["summary"]["deployment_decision"] == "review_required"
    assert "stolen" in shown.result["deployment_decision"]["reason"]
    assert shown.result["decision_digest"] == before["decision_digest"]
    assert shown.result["evidence"] == before["evidence"]
    for job_id in (early, unaffected):
        assert (await yard.job(job_id)).withdrawn is None
    page = await list_jobs(yard.plane, yard.user)
    listed = {job.job_id: job for job in page.jobs}
    assert listed[late].withdrawn == shown.withdrawn
    assert (listed[late].result or {})["deployment_decision"]["decision"] == "review_required"
    assert listed[early].withdrawn is None


async def test_a_key_that_was_removed_can_be_found_compromised_later(yard: Yard, admin: Principal) -> None:
    job_id = await decided(yard, yard.one)
    now = await yard.plane.database.now()
    assert (await remove_key(yard.plane, admin, yard.one.key.public, "sold")).withdrawn == ()
    later = await remove_key(
        yard.plane, admin, yard.one.key.public, "found on a disk", now - timedelta(days=1)
    )
    assert later.withdrawn == (job_id,)
    assert later.key.reason == "found on a disk"
    withdrawn = (await yard.job(job_id)).withdrawn
    # Withdrawn once, whatever follows, and told again; and such a key never comes back.
    again = await remove_key(yard.plane, admin, yard.one.key.public, "x", now - timedelta(days=2))
    assert again.withdrawn == (job_id,)
    assert (await yard.job(job_id)).withdrawn == withdrawn
    page = await list_entries(yard.plane, admin, subject=job_id)
    assert [one.act for one in page.entries].count("decision.withdrawn") == 1
    assert await refusal(allow_key(yard.plane, admin, yard.one.key.public)) == "conflict"


async def test_a_decision_made_after_the_compromise_is_withdrawn_as_it_is_made(
    yard: Yard, admin: Principal
) -> None:
    """One built by the key that is found compromised, the rest done by another runner."""
    since = await yard.plane.database.now()
    job = await yard.analyze()
    built = await yard.one.take()
    await yard.one.work(built)
    removed = await remove_key(yard.plane, admin, yard.one.key.public, "stolen", since)
    assert removed.withdrawn == ()
    await yard.two.work_off()
    shown = await yard.job(job.job_id)
    assert shown.status == "completed"
    assert shown.withdrawn is not None
    assert shown.withdrawn.by == "control-plane"
    assert (shown.result or {})["deployment_decision"]["decision"] == "review_required"


async def test_a_compromise_in_the_future_is_refused_and_changes_nothing(
    yard: Yard, admin: Principal
) -> None:
    soon = await yard.plane.database.now() + timedelta(hours=1)
    attempt = remove_key(yard.plane, admin, yard.one.key.public, "x", soon)
    assert await refusal(attempt) == "invalid_request"
    assert all(key.state == "good" for key in (await list_keys(yard.plane, admin)).keys)


async def test_only_admins_change_the_list(yard: Yard) -> None:
    key = SigningKey.generate().public
    for principal in (yard.user, yard.one.principal):
        for attempt in (
            allow_key(yard.plane, principal, key),
            remove_key(yard.plane, principal, key),
            rotate_key(yard.plane, principal, yard.one.key.public, key, 60),
            list_keys(yard.plane, principal),
        ):
            assert await refusal(attempt) == "forbidden"


async def test_rotation_keeps_the_runner_and_ends_the_old_key_in_time(yard: Yard, admin: Principal) -> None:
    await yard.analyze()
    new = SigningKey.generate()
    rotated = await rotate_key(yard.plane, admin, yard.one.key.public, new.public, 3600)
    assert rotated.old.state == rotated.new.state == "good"
    assert rotated.old.good_until is not None
    assert rotated.new.runner_id == rotated.old.runner_id == yard.one.principal.runner_id
    # Both work meanwhile, each under its own signature.
    runner_id = yard.one.principal.runner_id or ""
    renewed = Worker(yard.plane, Principal(runner_id, "runner", runner_id, new.public.base64), new)
    held = await yard.one.take()
    with_new = await renewed.take()
    assert (await renewed.work(with_new)).state == "COMPLETE"
    assert (await yard.one.work(held)).state == "COMPLETE"
    await yard.plane.database.pool.execute(
        "UPDATE runner_keys SET good_until = clock_timestamp() WHERE public_key = $1",
        yard.one.key.public.base64,
    )
    measuring = await renewed.take()
    assert await end_unlisted_leases(yard.plane) == 0
    assert (await renewed.work(measuring)).state == "COMPLETE"
    keys = {key.public_key: key for key in (await list_keys(yard.plane, admin)).keys}
    assert keys[yard.one.key.public.base64].state == "rotated_out"
    # Compromise of the old key reaches what the old key signed, and nothing of the new one's.
    since = await yard.plane.database.now() - timedelta(hours=1)
    assert len((await remove_key(yard.plane, admin, yard.one.key.public, "leaked", since)).withdrawn) == 1


async def rotated(yard: Yard, admin: Principal) -> Worker:
    """The second process of runner one, with the key that replaces the first one's in an hour."""
    new = SigningKey.generate()
    await rotate_key(yard.plane, admin, yard.one.key.public, new.public, 3600)
    runner_id = yard.one.principal.runner_id or ""
    return Worker(yard.plane, Principal(runner_id, "runner", runner_id, new.public.base64), new)


async def test_the_two_processes_of_a_rotation_leave_each_others_leases_alone(
    yard: Yard, admin: Principal
) -> None:
    """Each counts its own claims and names its own leases."""
    renewed = await rotated(yard, admin)
    await yard.analyze()
    old = await yard.one.claim(holding=(), number=900)
    new = await renewed.claim(holding=(), number=1)
    assert old is not None
    assert new is not None
    assert await yard.one.claim(holding=(old.run_id,), number=901) is None
    assert await renewed.claim(holding=(new.run_id,), number=2) is None
    for worker, held in ((yard.one, old), (renewed, new)):
        await heartbeat(yard.plane, worker.principal, held.run_id, lease_of(held), HeartbeatRequest())
    strikes = "SELECT strikes FROM runners WHERE runner_id = $1"
    assert await yard.plane.database.pool.fetchval(strikes, yard.one.principal.runner_id) == 0
    # Of its own key's leases a claim still ends those that it does not name.
    again = await renewed.claim(holding=(), number=3)
    assert again is not None
    assert (again.run_id, again.attempt) == (new.run_id, 2)


async def test_the_two_processes_of_a_rotation_wait_side_by_side(yard: Yard, admin: Principal) -> None:
    renewed = await rotated(yard, admin)
    old = asyncio.create_task(yard.one.claim(wait_seconds=30, holding=(), number=900))
    new = asyncio.create_task(renewed.claim(wait_seconds=30, holding=(), number=1))
    await waiting(yard, 2)
    await yard.analyze()
    claimed = await asyncio.wait_for(asyncio.gather(old, new), 20)
    assert len({run.run_id for run in claimed if run is not None}) == 2


async def test_a_lease_of_a_rotated_out_key_ends(yard: Yard, admin: Principal) -> None:
    await yard.analyze()
    held = await yard.one.take()
    await rotate_key(yard.plane, admin, yard.one.key.public, SigningKey.generate().public, 0)
    assert await end_unlisted_leases(yard.plane) == 1
    assert await refusal(yard.one.submit(held, yard.one.answer(held).envelope)) == "stale_lease"
    assert await claim(yard.plane, yard.one.principal, ClaimRequest()) is None


async def test_a_key_is_replaced_by_one_other_also_when_asked_at_once(
    yard: Yard, another_replica: ControlPlane, admin: Principal
) -> None:
    old = yard.one.key.public
    both = await asyncio.gather(
        *(
            rotate_key(plane, admin, old, SigningKey.generate().public, 3600)
            for plane in (yard.plane, another_replica)
        ),
        return_exceptions=True,
    )
    (refused,) = [one for one in both if isinstance(one, Refused)]
    assert (refused.code, "replaced already" in refused.detail) == ("conflict", True)
    keys = (await list_keys(yard.plane, admin)).keys
    assert sum(key.runner_id == yard.one.principal.runner_id for key in keys) == 2
    # The operator takes it back: another successor.
    await allow_key(yard.plane, admin, old)
    await rotate_key(yard.plane, admin, old, SigningKey.generate().public, 3600)


@pytest.mark.parametrize("overlap", [0, 3600])
async def test_a_rotation_that_is_asked_for_again_answers_as_before(
    yard: Yard, admin: Principal, overlap: float
) -> None:
    old, new = yard.one.key.public, SigningKey.generate().public
    first = await rotate_key(yard.plane, admin, old, new, overlap)
    again = await rotate_key(yard.plane, admin, old, new, overlap)
    assert (again.new, again.old.good_until) == (first.new, first.old.good_until)
    page = await list_entries(yard.plane, admin, subject=old.fingerprint)
    assert [one.act for one in page.entries] == ["key.rotated"]
    # Not for a successor's own, nor once the new key is gone.
    third = SigningKey.generate().public
    await rotate_key(yard.plane, admin, new, third, 3600)
    code = "conflict" if overlap else "key_not_allowed"
    assert await refusal(rotate_key(yard.plane, admin, old, third, 3600)) == code
    await remove_key(yard.plane, admin, new)
    assert await refusal(rotate_key(yard.plane, admin, old, new, overlap)) == code


@pytest.mark.parametrize("which", ["unknown old", "removed old", "new is another runner's", "the same"])
async def test_rotations_that_make_no_sense(yard: Yard, admin: Principal, which: str) -> None:
    old, new = yard.one.key.public, SigningKey.generate().public
    code = "key_not_allowed"
    if which == "unknown old":
        old = SigningKey.generate().public
    elif which == "removed old":
        await remove_key(yard.plane, admin, old)
    else:
        new, code = (yard.two.key.public, "conflict") if "another" in which else (old, "invalid_request")
        await yard.plane.database.pool.execute("UPDATE runner_keys SET runner_id = 'r-' || added_at::text")
    assert await refusal(rotate_key(yard.plane, admin, old, new, 60)) == code
