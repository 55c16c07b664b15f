"""A built artifact handed in as it is: a real runner measures it, and forges only the baseline."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edgeproof.client import Client, ControlPlaneClient
from edgeproof.contract.jobs import JobView
from edgeproof.contract.requests import AnalyzeRequest

from .running_system import Up, decision_of, edgeproof, ended, printed, settled
from .tiny_models import TinyModels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_an_artifact_is_measured_as_it_came_and_verified(
    system: Up, client: Client, models: TinyModels, tmp_path: Path
) -> None:
    baseline = client.upload(models.slow)
    request = AnalyzeRequest(
        artifact_path=client.upload(models.quick),
        options={
            "baseline": {"model_path": baseline},
            "dataset": client.upload(models.dataset),
            "precision": "fp32",
            "batch": 1,
            "threads": 1,
            "runs": 30,
            "warmup": 200,
        },
    )

    async def queue() -> str:
        async with ControlPlaneClient(system.address, token=system.credentials.user_token) as asking:
            return (await asking.analyze(request)).job_id

    def analysed(_: int) -> JobView:
        return ended(client, asyncio.run(queue()))

    job = settled(analysed, lambda done: decision_of(done.result))
    assert job.status == "completed", job.error
    assert sorted(run.role for run in job.runs) == ["baseline", "pair"]
    assert job.result is not None
    assert job.result["deployment_decision"]["decision"] == "deployable", job.result["deployment_decision"]
    assert job.result["forge_metadata"] is None
    out = tmp_path / "out"
    reported = edgeproof("report", job.job_id, "--out", str(out), "--data-dir", str(system.data_dir))
    assert reported.returncode == 0, reported
    assert "measured as it came" in (out / "report.html").read_text(encoding="utf-8")
    trust = ("--trust", str(out / "trust.json"))
    verified = edgeproof("verify", str(out / "evidence"), *trust, "--json")
    assert verified.returncode == 0, verified
    assert printed(verified)["decisions"][0]["job_id"] == job.job_id
