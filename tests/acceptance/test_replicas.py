"""Two control planes on one PostgreSQL, asked in turn, without sticky sessions, one or another killed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.testing.faults import Campaign, run_campaign
from edgeproof.testing.faulty_system import FaultySystem
from edgeproof.testing.weather import Chances

pytestmark = pytest.mark.slow


@pytest.mark.timeout(400)
async def test_replicas_that_are_killed_lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    report = await run_campaign(
        Campaign(
            runs=24, kills=12, runners=2, victims={"server": 1}, chances=Chances(), seed=5,
            lease_seconds=10,  # so that none expires while a busy machine starts a killed server again
        ),
        tmp_path,
    )  # fmt: skip
    assert (report.lost, report.doubled) == ((), ())
    assert report.completed == report.accepted >= 8
    assert report.killed == {"server": 12}


@pytest.mark.timeout(400)
async def test_whatever_is_killed_nothing_is_lost_and_nothing_done_twice(tmp_path: Path) -> None:
    """A small piece of `make faults`, in its weather of lost, doubled and late calls."""
    report = await run_campaign(Campaign(runs=24, kills=16, runners=3, seed=11), tmp_path)
    assert report.good, report
    assert set(report.killed) == {"runner", "server", "postgres"}


async def test_both_replicas_reap_and_a_run_is_reaped_once(tmp_path: Path) -> None:
    """A runner that falls silent: two reapers see the same lease expire; its run has one next attempt."""
    system = FaultySystem(tmp_path, servers=2, lease_seconds=5.0, seed=1)
    async with system.running():
        silent = await system.add_runner(step_seconds=20)
        async with system.client(system.credentials.user_token) as user:
            model = f"sha256:{(await user.upload_bytes(b'a model')).digest}"
            data = f"sha256:{(await user.upload_bytes(b'a data set')).digest}"
            asked = AnalyzeRequest(model_path=model, options={"dataset": data, "threads": 1})
            job_id = (await user.analyze(asked)).job_id
            async with asyncio.timeout(30):
                while not {"CLAIMED"} & {run.state for run in (await user.job(job_id)).runs}:
                    await asyncio.sleep(0.02)
            await silent.lose()
            await system.add_runner()
            ends = [
                event.data
                async for event in user.events(job_id)
                if event.type == "metadata" and "state" in event.data
            ]
            job = await user.job(job_id)
    assert job.status == "completed", job.error
    again = [one for one in ends if one["state"] == "PENDING"]
    assert len(again) == 1
    assert [run.attempt for run in job.runs if run.run_id == again[0]["run_id"]] == [2]
