"""Classes that nothing waits in rest, and whoever needs one finds it awake: no run is ever left in a bed."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from edgeproof.contract.runners import Capabilities, ClaimRequest, Needs
from edgeproof.server.fleet.requirements import class_of
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.server.queue.claim import claim
from edgeproof.server.upkeep.resting_classes import rest_classes, rest_those_idle

from .conftest import CAPABILITIES, Worker

NEEDS = Needs(stage="forge", backend="onnxruntime", target="cpu", precisions=("fp32",), min_memory_bytes=1)
LABELLED = msgspec.structs.replace(CAPABILITIES, labels={"site": "lab"})


async def awake(plane: ControlPlane) -> int:
    count: int = await plane.database.pool.fetchval(
        "SELECT count(*) FROM requirement_classes WHERE NOT resting"
    )
    return count


async def matched(plane: ControlPlane) -> int:
    count: int = await plane.database.pool.fetchval("SELECT count(*) FROM runner_classes")
    return count


async def tell(worker: Worker, capabilities: Capabilities) -> None:
    assert await claim(worker.plane, worker.principal, ClaimRequest(capabilities=capabilities)) is None


async def test_what_nothing_waits_in_rests_and_the_next_job_wakes_it(yard: Any) -> None:
    await yard.analyze()
    assert await yard.one.work_off() == 3
    before = await awake(yard.plane)
    assert await rest_classes(yard.plane) == before > 0
    assert (await awake(yard.plane), await matched(yard.plane)) == (0, 0)
    assert await rest_classes(yard.plane) == 0
    job = await yard.analyze()
    assert all(run.waiting_for == () for run in job.runs)
    assert await yard.two.work_off() == 3
    assert (await yard.job(job.job_id)).status == "completed"
    assert await yard.plane.database.pool.fetchval("SELECT count(*) FROM requirement_classes") == before


async def test_what_waits_or_is_leased_or_is_wanted_by_name_keeps_its_class_awake(yard: Any) -> None:
    named = await yard.analyze(runner=yard.two.principal.runner_id)
    job = await yard.analyze()
    assert (await yard.one.take()).job_id == job.job_id
    both = await awake(yard.plane)
    assert await rest_classes(yard.plane) == 0
    assert await awake(yard.plane) == both
    assert await yard.two.work_off() > 0
    assert (await yard.job(named.job_id)).status == "completed"


async def test_a_class_in_which_a_run_began_to_wait_after_the_look_is_left_awake(yard: Any) -> None:
    job = await yard.analyze()
    found = await yard.plane.database.pool.fetch("SELECT class_id FROM requirement_classes")
    assert await rest_those_idle(yard.plane, [row["class_id"] for row in found]) == 0
    assert (await yard.one.take()).job_id == job.job_id


async def test_who_came_or_changed_meanwhile_is_matched_at_the_waking(yard: Any) -> None:
    demand = {"runner_labels": {"site": "lab"}}
    await tell(yard.one, LABELLED)
    await yard.analyze(**demand)
    assert await yard.one.work_off() == 3
    assert await rest_classes(yard.plane) > 0
    await tell(yard.one, CAPABILITIES)
    await tell(yard.two, LABELLED)
    job = await yard.analyze(**demand)
    assert all(run.waiting_for == () for run in job.runs)
    assert await yard.one.claim() is None
    assert await yard.two.work_off() == 3


async def test_a_claim_that_waits_is_woken_with_the_class(yard: Any) -> None:
    await yard.analyze()
    await yard.one.work_off()
    assert await rest_classes(yard.plane) > 0
    claiming = asyncio.create_task(yard.one.claim(wait_seconds=30))
    job = await yard.analyze()
    assert (await asyncio.wait_for(claiming, 10)).job_id == job.job_id


async def test_a_class_that_a_transaction_has_found_is_left_awake(
    control_plane: ControlPlane, another_replica: ControlPlane
) -> None:
    async with control_plane.database.transaction() as connection:
        found = await class_of(connection, NEEDS)
    async with control_plane.database.transaction() as connection:
        assert await class_of(connection, NEEDS) == found
        assert await rest_classes(another_replica) == 0
    assert await awake(control_plane) == 1
    assert await rest_classes(another_replica) == 1


async def test_who_meets_a_class_that_is_being_laid_to_rest_wakes_it(
    control_plane: ControlPlane, another_replica: ControlPlane
) -> None:
    async with control_plane.database.transaction() as connection:
        found = await class_of(connection, NEEDS)

    async def find() -> int:
        async with control_plane.database.transaction() as connection:
            return await class_of(connection, NEEDS)

    async with another_replica.database.transaction() as connection:
        await connection.execute("SELECT 1 FROM requirement_classes WHERE class_id = $1 FOR UPDATE", found)
        finding = asyncio.create_task(find())
        query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        async with asyncio.timeout(10):
            while await control_plane.database.pool.fetchval(query) == 0:
                await asyncio.sleep(0.01)
        await connection.execute("UPDATE requirement_classes SET resting = true WHERE class_id = $1", found)
    assert await finding == found
    assert await awake(control_plane) == 1


@pytest.mark.parametrize("round_", range(3))
async def test_jobs_that_come_while_classes_are_laid_to_rest_are_all_done(
    yard: Any, another_replica: ControlPlane, round_: int
) -> None:
    await yard.analyze(runner_labels={})
    await yard.one.work_off()
    jobs = []
    for _ in range(6):
        came = await asyncio.gather(
            *(yard.analyze() for _ in range(3)),
            *(rest_classes(plane) for plane in (yard.plane, another_replica) for _ in range(3)),
            yard.one.claim(),
        )
        jobs += came[:3]
        claimed = came[-1]
        if claimed is not None:
            await yard.one.work(claimed)
        await yard.one.work_off()
    assert {(await yard.job(job.job_id)).status for job in jobs} == {"completed"}


async def test_a_run_that_an_earlier_release_put_to_a_resting_class_is_found_again(
    yard: Any, caplog: pytest.LogCaptureFixture
) -> None:
    job = await yard.analyze()
    pool = yard.plane.database.pool
    await pool.execute("UPDATE requirement_classes SET resting = true")
    assert await yard.one.claim() is not None  # that release matched it, too
    await pool.execute("DELETE FROM runner_classes")
    assert await yard.one.claim() is None
    assert await rest_classes(yard.plane) == 0
    assert "rested while runs waited" in caplog.text
    assert (await yard.one.take()).job_id == job.job_id


async def test_a_runner_that_an_earlier_release_matched_is_no_obstacle(yard: Any) -> None:
    await yard.analyze()
    await yard.one.work_off()
    await yard.plane.database.pool.execute("UPDATE requirement_classes SET resting = true")
    assert await matched(yard.plane) > 0
    await yard.analyze()
    assert await yard.one.work_off() == 3
