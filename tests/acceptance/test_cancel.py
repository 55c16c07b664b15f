"""A job cancelled at each stage ends as cancelled, soon, and the next one is not affected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgeproof.client import Client

from .cutting_proxy import CuttingProxy
from .running_system import (
    Up,
    absent_runner,
    demand_done_once,
    demand_gone,
    edgeproof,
    ended,
    events_of,
    measuring,
    naming,
    outcomes,
    printed,
    until,
)

pytestmark = pytest.mark.slow


def cancel(system: Up, job_id: str) -> None:
    told = edgeproof("jobs", "cancel", job_id, "--json", "--data-dir", str(system.data_dir))
    assert told.returncode == 0, told.stderr
    assert printed(told)["cancel_requested_at"] is not None


def demand_cancelled(client: Client, job_id: str) -> None:
    job = ended(client, job_id)
    assert (job.status, job.result, job.error) == ("cancelled", None, None)
    events = events_of(client, job_id)
    assert [event.data["status"] for event in events if event.type == "status"][-1] == "cancelled"
    for run in job.runs:
        assert len(outcomes(events, run.run_id)) == 1, run


def stages_of(system: Up) -> Path:
    return system.data_dir / "runner" / "work"


async def test_cancelled_while_queued(system: Up, client: Client, start_job: Callable[..., str]) -> None:
    job_id = start_job(runner=await absent_runner(system))
    assert client.job(job_id).status == "queued"
    cancel(system, job_id)
    demand_cancelled(client, job_id)


def test_cancelled_while_it_is_built(
    system: Up, client: Client, start_job: Callable[..., str], proxy: CuttingProxy
) -> None:
    upload = proxy.hold("PUT", r"/api/artifacts/sha256/.*run_id=")
    job_id = start_job()
    upload.wait()
    assert {run.stage for run in client.job(job_id).view.runs if run.state == "CLAIMED"} == {"forge"}
    cancel(system, job_id)
    demand_cancelled(client, job_id)
    upload.cut()


def test_cancelled_while_it_is_measured(system: Up, client: Client, start_job: Callable[..., str]) -> None:
    job_id = start_job()
    measuring(client, job_id)
    measured_by = naming(stages_of(system))
    assert measured_by
    cancel(system, job_id)
    demand_cancelled(client, job_id)
    demand_gone(measured_by)
    until(lambda: not list(stages_of(system).iterdir()), "the workspace is gone")


def test_a_job_that_has_ended_cannot_be_cancelled(
    system: Up, client: Client, start_job: Callable[..., str]
) -> None:
    """Also the next job after three cancelled ones: it is done, once."""
    job_id = start_job()
    demand_done_once(client, job_id)
    told = edgeproof("jobs", "cancel", job_id, "--json", "--data-dir", str(system.data_dir))
    assert told.returncode == 1
    assert printed(told)["code"] == "job_terminal"
