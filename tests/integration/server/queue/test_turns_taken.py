"""A run that begins to wait wakes a runner that may have it, whoever else waits and waited longer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from edgeproof.contract.runners import ClaimedRun
from edgeproof.server.fleet.standing import set_standing
from edgeproof.server.plane.control_plane import Principal
from edgeproof.server.plane.principals import authenticate, create_principal
from edgeproof.server.queue.revoke import remove_key

from .conftest import Worker, Yard, enlist, waiting

_AT_ONCE_SECONDS: Final = 10.0
"""Below the shortest polling pause, so that only a call can have done it."""

Claiming = asyncio.Task[ClaimedRun | None]


@pytest.fixture
async def operator(yard: Yard) -> Principal:
    return await authenticate(yard.plane, await create_principal(yard.plane, "admin", "operator"))


@pytest.fixture
async def both_wait(yard: Yard) -> AsyncIterator[Any]:
    """Two claims that wait, the one of ``yard.one`` for longer."""
    claims: list[Claiming] = []

    async def wait() -> list[Claiming]:
        for worker in (yard.one, yard.two):
            claims.append(asyncio.create_task(worker.claim(wait_seconds=30)))
            await waiting(yard, len(claims))
        return claims

    yield wait
    for one in claims:
        one.cancel()
    await asyncio.gather(*claims, return_exceptions=True)


async def at_once(claiming: Claiming) -> ClaimedRun:
    claimed = await asyncio.wait_for(asyncio.shield(claiming), _AT_ONCE_SECONDS)
    assert claimed is not None
    return claimed


async def give_back(worker: Worker, claimed: ClaimedRun) -> None:
    """The run waits again: one call, for one run, of a class that is known."""
    assert await worker.fail(claimed, retryable=True) == "PENDING"


async def all_taken(yard: Yard) -> tuple[Worker, ClaimedRun]:
    """A third runner holds all there is to do; a run of them."""
    await yard.analyze()
    third = await enlist(yard.plane)
    runs = [await third.take(), await third.take()]
    return third, runs[0]


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_one_that_drains_takes_no_call_from_one_that_works(
    yard: Yard, operator: Principal, both_wait: Any, when: str
) -> None:
    third, held = await all_taken(yard)
    runner_id = yard.one.principal.runner_id or ""
    if when == "before":
        await set_standing(yard.plane, operator, runner_id, "draining", "")
    draining, working = await both_wait()
    if when == "meanwhile":
        await set_standing(yard.plane, operator, runner_id, "draining", "")
    await give_back(third, held)
    assert (await at_once(working)).run_id == held.run_id
    assert not draining.done()
    await set_standing(yard.plane, operator, runner_id, "active", "")
    await yard.analyze()
    await at_once(draining)


async def test_one_whose_key_is_removed_takes_no_call_from_one_whose_key_is_good(
    yard: Yard, operator: Principal, both_wait: Any
) -> None:
    third, held = await all_taken(yard)
    _, working = await both_wait()
    await remove_key(yard.plane, operator, yard.one.key.public, "stolen")
    await give_back(third, held)
    assert (await at_once(working)).run_id == held.run_id


async def measurements(yard: Yard, *workers: Worker) -> list[ClaimedRun]:
    """Each of the workers holds one."""
    for _ in workers:
        await yard.analyze()
    for _ in workers:
        for _ in range(2):
            await yard.two.work(await yard.two.take())
    held = [await worker.take() for worker in workers]
    assert {one.stage for one in held} == {"runtime"}
    return held


async def test_one_that_measures_takes_no_call_for_another_measurement(yard: Yard, both_wait: Any) -> None:
    third = await enlist(yard.plane)
    _, given_back = await measurements(yard, yard.one, third)
    _, idle = await both_wait()
    await give_back(third, given_back)
    assert (await at_once(idle)).run_id == given_back.run_id


@pytest.mark.parametrize("how", ["result", "failure", "retry"])
async def test_one_that_has_measured_is_called_for_what_came_meanwhile(yard: Yard, how: str) -> None:
    third = await enlist(yard.plane)
    mine, given_back = await measurements(yard, yard.one, third)
    claiming = asyncio.create_task(yard.one.claim(wait_seconds=30))
    await waiting(yard, 1)
    await give_back(third, given_back)
    if how == "result":
        await yard.one.work(mine)
    else:
        await yard.one.fail(mine, retryable=how == "retry")
    assert (await at_once(claiming)).run_id in {mine.run_id, given_back.run_id}
