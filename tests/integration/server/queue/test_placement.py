"""Which device a job may demand: device class, memory, GPU memory, quantisation, labels."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from edgeproof.contract.runners import Capabilities, ClaimedRun, ClaimRequest, EngineCapability, Gpu
from edgeproof.server.jobs.dead_letters import requeue
from edgeproof.server.jobs.jobs import list_jobs
from edgeproof.server.queue.claim import claim

from .conftest import CAPABILITIES, ENGINE, Worker, enlist, listening

GPU = Gpu(name="a GPU", memory_bytes=24 << 30, driver="570.1")


def able(**more: Any) -> Capabilities:
    return msgspec.structs.replace(CAPABILITIES, **more)


async def claim_as(worker: Worker, capabilities: Capabilities) -> ClaimedRun | None:
    return await claim(worker.plane, worker.principal, ClaimRequest(capabilities=capabilities))


def waiting(job: Any) -> set[str]:
    """What its runs wait for; each for the same, or this fails."""
    (lacks,) = {run.waiting_for for run in job.runs}
    return set(lacks)


DEMANDS = [
    pytest.param(
        {"runner_labels": {"site": "lab"}},
        {"labels": {"site": "lab", "board": "b2"}},
        {"label site=lab (has no label site)"},
        id="label",
    ),
    pytest.param(
        {"runner_labels": {"site": ["lab", "roof"]}},
        {"labels": {"site": "roof"}},
        {"label site=lab or roof (has no label site)"},
        id="one of several labels",
    ),
    pytest.param(
        {"device_class": "linux-aarch64"},
        {"device_class": "linux-aarch64"},
        {"device class linux-aarch64 (is linux-x86_64)"},
        id="device class",
    ),
    pytest.param(
        {"min_vram_bytes": 24 << 30},
        {"gpus": (GPU,)},
        {"a GPU with 24 GiB (has none)"},
        id="GPU memory",
    ),
    pytest.param(
        {"min_memory_bytes": 64 << 30},
        {"memory_bytes": 64 << 30},
        {"64 GiB of memory (has 4 GiB)"},
        id="memory",
    ),
    pytest.param(
        {"runner_labels": {"site": "lab"}, "min_vram_bytes": 1 << 30},
        {"labels": {"site": "lab"}, "gpus": (GPU,)},
        {"label site=lab (has no label site)", "a GPU with 1 GiB (has none)"},
        id="two at once",
    ),
]


@pytest.mark.parametrize(("demand", "more", "lacks"), DEMANDS)
async def test_a_job_says_at_once_what_no_runner_has_and_goes_to_the_first_that_has_it(
    yard: Any, demand: dict[str, Any], more: dict[str, Any], lacks: set[str]
) -> None:
    job = await yard.analyze(**demand)
    assert waiting(job) == lacks
    assert waiting(await yard.job(job.job_id)) == lacks
    assert await yard.one.claim() is None
    assert await yard.two.claim() is None
    assert (await claim_as(yard.one, able(**more))).job_id == job.job_id
    assert await yard.two.claim() is None
    assert waiting(await yard.job(job.job_id)) == set()
    assert (await yard.one.take()).job_id == job.job_id


async def test_a_whole_job_is_done_by_the_device_that_it_demands(yard: Any) -> None:
    await claim_as(yard.two, able(labels={"site": "lab"}))
    job = await yard.analyze(runner_labels={"site": "lab"})
    assert await yard.one.claim() is None
    assert await yard.two.work_off() == 3
    done = await yard.job(job.job_id)
    assert done.status == "completed"
    assert {run.runner_id for run in done.runs} == {yard.two.principal.runner_id}


async def test_a_label_that_an_operator_takes_away_takes_the_work_away(yard: Any) -> None:
    await claim_as(yard.one, able(labels={"site": "lab"}))
    job = await yard.analyze(runner_labels={"site": "lab"})
    assert waiting(job) == set()
    assert await claim_as(yard.one, able()) is None
    assert waiting(await yard.job(job.job_id)) == {"label site=lab (has no label site)"}


async def test_a_runner_that_comes_later_gets_what_waited_for_it(yard: Any) -> None:
    job = await yard.analyze(min_vram_bytes=24 << 30)
    newcomer = await enlist(yard.plane)
    assert await newcomer.claim() is None
    assert (await claim_as(newcomer, able(gpus=(GPU,)))).job_id == job.job_id


async def test_a_runner_that_waits_already_is_woken_by_a_job_that_demands_it(yard: Any) -> None:
    await claim_as(yard.two, able(labels={"site": "lab"}))
    claiming = asyncio.create_task(yard.two.claim(wait_seconds=30))
    await listening(yard)
    job = await yard.analyze(runner_labels={"site": "lab"})
    # Below the polling fallback, so that only a wake-up can have done it.
    assert (await asyncio.wait_for(claiming, 10)).job_id == job.job_id


async def test_work_that_is_done_again_demands_the_same(yard: Any) -> None:
    await claim_as(yard.two, able(labels={"site": "lab"}))
    job = await yard.analyze(runner_labels={"site": "lab"})
    await yard.two.fail(await yard.two.take(), retryable=False)
    again = await requeue(yard.plane, yard.user, job.job_id)
    assert await yard.one.claim() is None
    assert (await yard.two.take()).job_id == again.job_id


async def test_the_nearest_runner_is_the_one_that_is_told_of(yard: Any) -> None:
    await claim_as(yard.one, able(gpus=(msgspec.structs.replace(GPU, memory_bytes=8 << 30),)))
    await claim_as(yard.two, able(gpus=(msgspec.structs.replace(GPU, memory_bytes=16 << 30),)))
    job = await yard.analyze(min_vram_bytes=24 << 30)
    assert waiting(job) == {"a GPU with 24 GiB (the largest has 16 GiB)"}


async def test_a_named_runner_is_asked_for_what_is_demanded_too(yard: Any) -> None:
    await claim_as(yard.two, able(labels={"site": "lab"}))
    runner_id = yard.one.principal.runner_id
    job = await yard.analyze(runner=runner_id, runner_labels={"site": "lab"})
    assert waiting(job) == {"label site=lab (has no label site)"}
    assert await yard.one.claim() is None
    assert await yard.two.claim() is None


async def test_an_int8_build_waits_for_a_toolchain_that_makes_it_and_its_measurement_for_a_backend(
    yard: Any,
) -> None:
    def engine(*schemes: str) -> EngineCapability:
        return msgspec.structs.replace(ENGINE, precisions=("fp32", "int8"), quantizations=schemes)

    unable = able(toolchains=(engine("int8_static"),), backends=(engine(),))
    job = await yard.analyze(precision="int8")
    for worker in (yard.one, yard.two):
        # The baseline is taken as it is: any runner does it.
        if (claimed := await claim_as(worker, unable)) is not None:
            await worker.work(claimed)
    lacks = {run.role: run.waiting_for for run in (await yard.job(job.job_id)).runs}
    assert lacks == {"baseline": (), "candidate": ("quantization int8_dynamic (has int8_static)",)}
    builds = able(toolchains=(engine("int8_dynamic"),), backends=(engine(),))
    await yard.one.work(await claim_as(yard.one, builds))
    lacks = {run.role: run.waiting_for for run in (await yard.job(job.job_id)).runs}
    assert lacks["pair"] == ("quantization int8_dynamic (has none)",)
    measures = able(toolchains=(), backends=(engine("int8_dynamic"),))
    assert (await claim_as(yard.two, measures)).stage == "runtime"


async def test_a_job_says_at_once_what_no_runner_has_for_its_measurement(yard: Any) -> None:
    able_to_build = able(toolchains=(msgspec.structs.replace(ENGINE, precisions=("fp32", "int8")),))
    for worker in (yard.one, yard.two):
        assert await claim_as(worker, able_to_build) is None
    job = await yard.analyze(precision="int8")
    named = await yard.analyze(precision="int8", runner=yard.one.principal.runner_id)
    for shown in (job, await yard.job(job.job_id), named):
        assert shown.waiting_for == ("for the measurement: precision int8 (has fp32)",)
        assert waiting(shown) == set()
    listed = (await list_jobs(yard.plane, yard.user)).jobs
    assert [one.waiting_for for one in listed] == [named.waiting_for, job.waiting_for]
    assert (await yard.analyze()).waiting_for == ()
    # Once the measurement is a run, it says so itself.
    await yard.one.work_off()
    done = await yard.job(job.job_id)
    assert done.waiting_for == ()
    assert {run.role: run.waiting_for for run in done.runs}["pair"] == ("precision int8 (has fp32)",)


async def test_a_runner_that_measures_ends_what_a_job_waits_for(yard: Any) -> None:
    engine = msgspec.structs.replace(ENGINE, precisions=("fp32", "int8"))
    await claim_as(yard.one, able(toolchains=(engine,)))
    job = await yard.analyze(precision="int8")
    assert job.waiting_for
    assert await claim_as(yard.two, able(toolchains=(), backends=(engine,))) is None
    assert (await yard.job(job.job_id)).waiting_for == ()


async def test_what_a_run_waits_for_is_not_said_of_the_measurement_again(yard: Any) -> None:
    job = await yard.analyze(min_vram_bytes=24 << 30)
    assert waiting(job) == {"a GPU with 24 GiB (has none)"}
    assert job.waiting_for == ()
