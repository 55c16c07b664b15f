"""Claims that come at once: served in few transactions, each answered as if it had come alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import ClaimedRun, ClaimRequest
from edgeproof.server.queue import grant
from edgeproof.server.queue.claim import claim, claim_runs

from .conftest import CAPABILITIES, Worker, Yard, enlist
from .conftest import waiting as all_waiting

# Every lease of one transaction was written by it.
_LEASES = "SELECT run_id, runner_id, attempt, xmin::text AS written_by FROM run_queue WHERE state = 'CLAIMED'"
_REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.actor = '{runner_id}' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse()
"""


@pytest.fixture
async def workers(yard: Yard) -> list[Worker]:
    return [yard.one, yard.two, *[await enlist(yard.plane) for _ in range(10)]]


async def at_once(workers: Sequence[Worker]) -> list[ClaimedRun | None]:
    return await asyncio.gather(*(worker.claim() for worker in workers))


def name_of(worker: Worker) -> str:
    return worker.principal.principal_id


def named(workers: Sequence[Worker], answers: Sequence[Any]) -> dict[str, Any]:
    return {name_of(worker): answer for worker, answer in zip(workers, answers, strict=True)}


async def measuring(yard: Yard, count: int) -> None:
    """Let ``count`` runs wait to be measured, and nothing else."""
    for _ in range(count):
        await yard.analyze()
    request = ClaimRequest(max_runs=64)
    for run in (await claim_runs(yard.plane, yard.one.principal, request)).runs:
        await yard.one.work(run)


async def test_each_gets_another_of_the_oldest_in_few_transactions(yard: Yard, workers: list[Worker]) -> None:
    jobs = [await yard.analyze(preset="source") for _ in range(8)]
    claimed = await at_once(workers)
    leases = await yard.plane.database.pool.fetch(_LEASES)
    assert {lease["run_id"] for lease in leases} == {run.run_id for run in claimed if run is not None}
    assert {lease["runner_id"] for lease in leases} == {name_of(worker) for worker in workers}
    assert [lease["attempt"] for lease in leases] == [1] * 12
    assert len({lease["written_by"] for lease in leases}) <= 3
    assert {run.job_id for run in claimed if run is not None} == {job.job_id for job in jobs[:6]}
    for worker, run in zip(workers, claimed, strict=True):
        assert run is not None
        assert (await worker.work(run)).state == "COMPLETE"


async def test_who_finds_its_class_taken_gets_of_another(yard: Yard, workers: list[Worker]) -> None:
    labelled = msgspec.structs.replace(CAPABILITIES, labels={"site": "lab"})
    for worker in workers:
        request = ClaimRequest(capabilities=labelled)
        assert await claim(yard.plane, worker.principal, request) is None
    scarce = await yard.analyze(runner_labels={"site": "lab"})
    plenty = [await yard.analyze() for _ in range(5)]
    claimed = await at_once(workers)
    got = [run.job_id for run in claimed if run is not None]
    assert sorted(got) == sorted(2 * [job.job_id for job in (scarce, *plenty)])


async def test_a_run_that_names_its_runner_goes_to_it_among_many(yard: Yard, workers: list[Worker]) -> None:
    theirs = {name_of(worker): await yard.analyze(runner=name_of(worker)) for worker in workers[3:6]}
    anybodys = [await yard.analyze() for _ in range(2)]
    claimed = named(workers, await at_once(workers))
    for name, job in theirs.items():
        assert claimed.pop(name).job_id == job.job_id
    got = [run.job_id for run in claimed.values() if run is not None]
    assert sorted(got) == sorted(2 * [job.job_id for job in anybodys])


async def test_each_measures_one_however_often_it_asks(yard: Yard, workers: list[Worker]) -> None:
    await measuring(yard, 8)
    few = workers[:3]
    claimed = await at_once(few * 5)
    got = [run.run_id for run in claimed if run is not None]
    assert len(got) == len(set(got)) == 3
    leases = await yard.plane.database.pool.fetch(_LEASES)
    assert sorted(lease["runner_id"] for lease in leases) == sorted(name_of(worker) for worker in few)
    assert {lease["attempt"] for lease in leases} == {1}


async def test_each_ends_the_leases_that_it_does_not_name_and_no_others(
    yard: Yard, workers: list[Worker]
) -> None:
    for _ in range(6):
        await yard.analyze()
    held = {name_of(worker): (await worker.take()).run_id for worker in workers[:9]}
    holding: list[tuple[str, ...] | None] = [
        () if place % 3 == 0 else (held[name_of(worker)], "another") if place % 3 == 1 else None
        for place, worker in enumerate(workers[:9])
    ]
    await asyncio.gather(
        *(worker.claim(holding=told) for worker, told in zip(workers[:9], holding, strict=True))
    )
    attempts = "SELECT run_id, attempt FROM run_queue"
    tried = {row["run_id"]: row["attempt"] for row in await yard.plane.database.pool.fetch(attempts)}
    ended = "SELECT runner_id FROM runners WHERE strikes = 1"
    struck = {row["runner_id"] for row in await yard.plane.database.pool.fetch(ended)}
    assert struck == {name_of(worker) for worker in workers[:9:3]}
    for place, run_id in enumerate(held.values()):
        assert tried[run_id] == 1 or place % 3 == 0


async def test_who_is_not_to_work_gets_nothing_and_is_no_obstacle(yard: Yard, workers: list[Worker]) -> None:
    for _ in range(8):
        await yard.analyze()
    pool = yard.plane.database.pool
    removed, drained, unknown = workers[2], workers[4], workers[6]
    await pool.execute(
        "UPDATE runner_keys SET removed_at = clock_timestamp() WHERE public_key = $1",
        removed.principal.public_key,
    )
    await pool.execute("UPDATE runners SET standing = 'draining' WHERE runner_id = $1", name_of(drained))
    await pool.execute(
        "UPDATE runner_keys SET runner_id = NULL WHERE public_key = $1", unknown.principal.public_key
    )
    for table in ("runner_classes", "runners"):
        await pool.execute(f"DELETE FROM {table} WHERE runner_id = $1", name_of(unknown))
    answers = await asyncio.gather(*(worker.claim() for worker in workers), return_exceptions=True)
    told = named(workers, answers)
    assert told.pop(name_of(removed)) is None
    assert told.pop(name_of(drained)) is None
    refused = told.pop(name_of(unknown))
    assert isinstance(refused, Refused)
    assert refused.code == "unauthenticated"
    assert {type(one) for one in told.values()} == {ClaimedRun}


async def test_one_whose_lease_the_database_refuses_is_not_the_others_trouble(
    yard: Yard, workers: list[Worker]
) -> None:
    for _ in range(8):
        await yard.analyze()
    cursed = workers[5]
    await yard.plane.database.pool.execute(_REFUSING.format(runner_id=name_of(cursed)))
    answers = await asyncio.gather(*(worker.claim() for worker in workers), return_exceptions=True)
    told = named(workers, answers)
    assert "not this one" in str(told.pop(name_of(cursed)))
    assert {type(one) for one in told.values()} == {ClaimedRun}
    leases = await yard.plane.database.pool.fetch(_LEASES)
    assert {lease["runner_id"] for lease in leases} == set(told)


async def test_a_locked_job_holds_up_those_who_get_its_runs_and_no_others(
    yard: Yard, workers: list[Worker]
) -> None:
    jobs = [await yard.analyze(preset="source") for _ in range(8)]
    pool = yard.plane.database.pool
    async with pool.acquire() as connection:
        async with connection.transaction():
            await connection.execute("SELECT FROM jobs WHERE job_id = $1 FOR UPDATE", jobs[0].job_id)
            claims = [asyncio.create_task(worker.claim()) for worker in workers]
            async with asyncio.timeout(20):
                while sum(one.done() for one in claims) < 10:
                    await asyncio.wait(
                        [one for one in claims if not one.done()], return_when=asyncio.FIRST_COMPLETED
                    )
            one, other = [task for task in claims if not task.done()]
            got = [task.result() for task in claims if task.done()]
            assert jobs[0].job_id not in {run.job_id for run in got if run is not None}
            # Its peer goes away: what it waited for is not leased to it.
            one.cancel()
            await asyncio.wait([one])
        last = await asyncio.wait_for(other, 20)
    assert last is not None
    assert last.job_id == jobs[0].job_id
    assert len(await pool.fetch(_LEASES)) == 11


async def test_who_goes_away_while_it_is_served_with_others_gets_no_lease_and_they_do(
    yard: Yard, workers: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await yard.analyze(preset="source")
    under_way, go_on = asyncio.Event(), asyncio.Event()
    offer = grant.offer_runs

    async def slowly(*arguments: Any) -> Any:
        under_way.set()
        await go_on.wait()
        return await offer(*arguments)

    monkeypatch.setattr(grant, "offer_runs", slowly)
    first, gone, last = [asyncio.create_task(worker.claim()) for worker in workers[:3]]
    await asyncio.wait_for(under_way.wait(), 20)
    gone.cancel()
    await asyncio.wait([gone])
    go_on.set()
    claimed = await asyncio.wait_for(asyncio.gather(first, last), 20)
    leases = await yard.plane.database.pool.fetch(_LEASES)
    assert {lease["run_id"] for lease in leases} == {run.run_id for run in claimed if run is not None}
    assert {lease["runner_id"] for lease in leases} == {name_of(workers[0]), name_of(workers[2])}
    assert [lease["attempt"] for lease in leases] == [1, 1]


async def test_many_who_wait_are_each_called_for_one(yard: Yard, workers: list[Worker]) -> None:
    waiting = [asyncio.create_task(worker.claim(wait_seconds=30)) for worker in workers]
    await all_waiting(yard, len(workers))
    jobs = [await yard.analyze() for _ in range(6)]
    claimed = await asyncio.wait_for(asyncio.gather(*waiting), 20)
    got = sorted(run.job_id for run in claimed if run is not None)
    assert got == sorted(2 * [job.job_id for job in jobs])
