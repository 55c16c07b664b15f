"""Processes killed and connections cut at named points, while a job runs: nothing lost, nothing done twice.

What is killed here, ``up`` starts again.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeproof.client import Client
from edgeproof.domain.runs import MAX_ATTEMPTS

from .cutting_proxy import CuttingProxy
from .running_system import (
    EDGEPROOF,
    Up,
    claimed_again,
    demand_done_once,
    demand_gone,
    edgeproof,
    ended,
    environment,
    events_of,
    kill,
    leased,
    measuring,
    outcomes,
    printed,
    run_of,
    runner,
    until,
)

pytestmark = pytest.mark.slow

SUBMIT = r"/api/queue/[^/]+/submit$"


def test_a_runner_killed_while_it_measures(system: Up, client: Client, start_job: Callable[..., str]) -> None:
    job_id = start_job()
    run = measuring(client, job_id)
    victim = system.child("runner")
    children = kill(victim)
    assert children, "the stage ran in processes of its own"
    demand_gone([victim, *children])
    job = demand_done_once(client, job_id)
    again = run_of(job, "pair")
    assert again is not None
    assert again.run_id == run.run_id
    assert again.attempt == run.attempt + 1
    assert system.successor("runner", victim)


def test_a_runner_killed_after_upload_before_submit(
    system: Up, client: Client, start_job: Callable[..., str], proxy: CuttingProxy
) -> None:
    submit = proxy.hold("POST", SUBMIT)
    job_id = start_job()
    submit.wait()
    outbox = system.data_dir / "runner" / "outbox"
    assert len(list(outbox.iterdir())) == 1
    kill(system.child("runner"))
    submit.cut()
    # Its successor finds the signed result and delivers it, or does the run again if that came too late.
    demand_done_once(client, job_id)
    assert until(lambda: not list(outbox.iterdir()), "the outbox is empty")


def test_a_server_killed_after_commit_before_the_reply(
    system: Up, client: Client, start_job: Callable[..., str], proxy: CuttingProxy
) -> None:
    submit = proxy.swallow_reply("POST", SUBMIT)
    job_id = start_job()
    submit.wait()
    assert submit.reply.startswith(b"HTTP/1.1 200 "), submit.reply
    victim, device = system.child("server"), system.child("runner")
    redelivered = proxy.swallow_reply("POST", SUBMIT)
    demand_gone([victim, *kill(victim)])
    submit.cut()
    redelivered.wait()
    assert redelivered.request == submit.request
    # The same answer to the same bytes, from another process.
    assert redelivered.reply.startswith(b"HTTP/1.1 200 "), redelivered.reply
    assert _body(redelivered.reply) == _body(submit.reply)
    redelivered.cut()
    job = demand_done_once(client, job_id)
    assert {run.attempt for run in job.runs} == {1}
    assert system.child("runner").pid == device.pid


def _body(reply: bytes) -> bytes:
    return reply.partition(b"\r\n\r\n")[2]


def test_a_server_killed_while_a_runner_measures(
    system: Up, client: Client, start_job: Callable[..., str]
) -> None:
    job_id = start_job()
    words = [*EDGEPROOF, "jobs", "watch", job_id, "--json", "--data-dir", str(system.data_dir)]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()
    ) as watch:
        measuring(client, job_id)
        victim, device = system.child("server"), system.child("runner")
        demand_gone([victim, *kill(victim)])
        demand_done_once(client, job_id)
        told, _ = watch.communicate(timeout=30)
    # Who watches it meanwhile sees its end, too.
    assert watch.returncode == 0
    assert json.loads(told)["status"] == "completed"
    assert system.child("runner").pid == device.pid


def test_postgresql_killed_while_a_runner_measures(
    system: Up, client: Client, start_job: Callable[..., str]
) -> None:
    before = client.job(start_job())
    measuring(client, before.job_id)
    victim, device = system.child("postgres"), system.child("runner")
    demand_gone([victim, *kill(victim)])
    demand_done_once(client, before.job_id)
    assert system.child("runner").pid == device.pid
    assert system.successor("postgres", victim)


@pytest.mark.timeout(400)
def test_a_stalled_runner_that_comes_back_writes_nothing(
    system: Up, client: Client, start_job: Callable[..., str], proxy: CuttingProxy, tmp_path: Path
) -> None:
    enrolment = edgeproof("runner", "enrol", "--json", "--data-dir", str(system.data_dir))
    stalled = system.child("runner")
    late = proxy.hold("POST", SUBMIT)
    job_id = start_job()
    late.wait()
    held = leased(client, job_id, late.run_id)
    stalled.suspend()
    try:
        with runner(system.address, tmp_path / "other", printed(enrolment)["token"]):
            taken = claimed_again(client, job_id, late.run_id, held.attempt + 1)
            assert taken.runner_id != held.runner_id
            late.forward()
            assert late.reply.startswith(b"HTTP/1.1 409 "), late.reply
            assert b"stale_lease" in late.reply
            stalled.resume()
            job = demand_done_once(client, job_id)
    finally:
        stalled.resume()
    (run,) = [run for run in job.runs if run.run_id == late.run_id]
    assert (run.runner_id, run.attempt) == (taken.runner_id, taken.attempt)
    outbox = system.data_dir / "runner" / "outbox"
    until(lambda: not list(outbox.iterdir()), "the late result was dropped")
    assert system.child("runner").pid == stalled.pid


def test_a_lease_that_expires_until_no_attempt_is_left(
    system: Up, client: Client, start_job: Callable[..., str], proxy: CuttingProxy
) -> None:
    point = proxy.hold("POST", SUBMIT)
    job_id = start_job()
    point.wait()
    run_id = point.run_id
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert leased(client, job_id, run_id).attempt == attempt
        device = system.child("runner")
        # Its outbox goes with it, as with a device whose disk is lost: nothing can be delivered later.
        device.suspend()
        for result in (system.data_dir / "runner" / "outbox").iterdir():
            result.unlink()
        kill(device)
        point.cut()
        if attempt < MAX_ATTEMPTS:
            point = proxy.hold("POST", rf"/api/queue/{re.escape(run_id)}/submit$")
            point.wait()
    job = ended(client, job_id)
    assert job.status == "failed"
    assert job.result is None
    assert job.error is not None
    assert (job.error.code, job.error.stage) == ("lease_expired", "forge")
    events = events_of(client, job_id)
    assert outcomes(events, run_id) == ["FAILED"]

    def states() -> list[str]:
        return [run.state for run in client.job(job_id).view.runs]

    # The other run may have been leased when its job failed; it ends a little later, and then once.
    until(lambda: not {"PENDING", "CLAIMED"} & set(states()), f"each run has ended: {states()}")
    assert all(len(outcomes(events, run.run_id)) <= 1 for run in job.runs)


def test_in_the_end_no_job_is_lost_and_the_next_one_is_done(
    system: Up, client: Client, start_job: Callable[..., str]
) -> None:
    demand_done_once(client, start_job())
    listed = edgeproof("jobs", "list", "--limit", "200", "--json", "--data-dir", str(system.data_dir))
    assert {job["status"] for job in printed(listed)["jobs"]} <= {"completed", "failed", "cancelled"}
