"""``kill -9`` of ``up`` itself: nothing that it started is left, and the next start goes on where it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from .running_system import demand_done_once, demand_gone, descendants, live, measuring, naming, up
from .tiny_models import TinyModels

pytestmark = pytest.mark.slow


def test_nothing_is_left_of_it_and_its_job_is_done_later(
    data_dir: Path, models: TinyModels, capsys: pytest.CaptureFixture[str]
) -> None:
    lease = ("--lease-seconds", "10", "--heartbeat-seconds", "0.5")
    with up(data_dir, *lease) as system:
        client = system.client()
        options = {
            "preset": "source", "batch": 1, "threads": 1, "runs": 30,
            "baseline": {"model_path": client.upload(models.slow)},
        }  # fmt: skip
        job_id = client.analyze(models.quick, options=options).job_id
        measuring(client, job_id)
        started = descendants(system.process.pid)
        assert len(started) >= 6, "PostgreSQL, server, runner, stage and a pair of measured processes"
        system.process.kill()
        seconds = demand_gone(started)
        with capsys.disabled():
            print(f"\nwhat up had started was gone after {seconds:.2f} s (goal: under 2 s)")  # noqa: T201
        assert live(naming(data_dir)) == []
        system.process.wait()
    with up(data_dir, *lease) as again:
        assert again.ready.fingerprint == system.ready.fingerprint
        job = demand_done_once(again.client(), job_id)
    (pair,) = [run for run in job.runs if run.role == "pair"]
    assert pair.attempt == 2
