"""The worker boundary over real HTTP, a road for each adapter: create → worker request → response → poll.

The road of the fleet with a real runner is in ``tests/acceptance``; here its runner invents its numbers.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from edgeproof.client import ControlPlaneClient
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.runners import ClaimRequest
from edgeproof.contract.worker import WorkerToken
from edgeproof.domain.runs import Lease
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.testing.answers import answer
from edgeproof.testing.evidence import Scene
from edgeproof.testing.external_worker import completed_answer

from .conftest import CAPABILITIES

EXTERNAL = {"adapter": "external", "backend": "tensorrt", "target": "jetson", "precision": "fp16"}
AXES = {"batch": 1, "height": 192, "width": 320}


@pytest.fixture
async def made(admin: ControlPlaneClient) -> WorkerToken:
    return await admin.create_worker("jetson lab")


@pytest.fixture
async def worker(made: WorkerToken, url: str) -> AsyncIterator[ControlPlaneClient]:
    async with ControlPlaneClient(url, token=made.token) as client:
        yield client


async def edgeproof(*words: str, **more: str) -> tuple[int, str, str]:
    """One command to its end: exit code, standard output, standard error."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("EDGEPROOF_")}
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edgeproof", *words, env={**own, **more}, **pipes
    )
    out, err = await command.communicate()
    return command.returncode or 0, out.decode(), err.decode()


async def test_the_road_of_the_fleet(
    server: ControlPlane, user: ControlPlaneClient, admin: ControlPlaneClient, url: str
) -> None:
    model = (await user.upload_bytes(b"a model")).digest
    dataset = (await user.upload_bytes(b"a data set")).digest
    options = {"threads": 1, "dataset": f"sha256:{dataset}"}
    job = await user.analyze(AnalyzeRequest(model_path=f"sha256:{model}", options=options))
    told = await user.worker_request(job.job_id)
    assert (told.job_id, told.model_path) == (job.job_id, f"sha256:{model}")
    key = SigningKey.generate()
    async with ControlPlaneClient(url) as runner:
        await runner.register(key, CAPABILITIES, await admin.create_enrolment_token())
        while (claimed := await runner.claim(ClaimRequest())) is not None:
            lease = Lease(claimed.attempt, claimed.lease_token)
            given = answer(claimed.job_spec.encode(), key, Scene())
            for data in given.uploads:
                await runner.upload_bytes(data, run_id=claimed.run_id, lease=lease)
            await runner.submit(claimed.run_id, lease, given.envelope)
    events = [event async for event in user.events(job.job_id)]
    assert events[-1].data["status"] == "completed"
    done = await user.job(job.job_id)
    assert done.result is not None
    assert done.result["deployment_decision"]["basis"] == "signed"


async def test_the_road_of_an_external_worker(
    user: ControlPlaneClient, worker: ControlPlaneClient, made: WorkerToken
) -> None:
    request = AnalyzeRequest(model_path="models/gate-camera.onnx", options={**EXTERNAL, **AXES})
    job = await user.analyze(request)
    told = await worker.worker_request(job.job_id)
    assert told.options == request.options
    receipt = await worker.send_worker_response(job.job_id, completed_answer(told))
    assert (receipt.status, receipt.decision) == ("completed", "unknown")
    done = await user.job(job.job_id)
    assert (done.status, done.updated_at) == ("completed", receipt.updated_at)
    assert done.result is not None
    assert done.result["provenance"]["worker"] == made.worker_id
    assert done.result["deployment_decision"]["basis"] == "unsigned"
    events = [event async for event in user.events(job.job_id)]
    assert [event.data["status"] for event in events if event.type == "status"] == [
        "queued", "running", "completed",
    ]  # fmt: skip
    (item,) = done.result["evidence"]
    kept = await user.fetch(item["digest"], max_bytes=1 << 20)
    assert kept == completed_answer(told)
    for call in (worker.worker_request(job.job_id), worker.send_worker_response(job.job_id, kept)):
        with pytest.raises(Refused) as refused:
            await call
        assert refused.value.status == 409


@pytest.mark.parametrize("status", ["completed", "failed"])
async def test_the_road_of_a_dry_run(
    user: ControlPlaneClient, made: WorkerToken, url: str, tmp_path: Path, status: str
) -> None:
    job = await user.analyze(AnalyzeRequest(model_path="m.onnx", options={**EXTERNAL, **AXES}))
    request, response = tmp_path / "request.json", tmp_path / "response.json"
    token = str(user.token)
    code, _, err = await edgeproof(
        "workers", "request", job.job_id, "--server", url, "--out", str(request), EDGEPROOF_TOKEN=token
    )
    assert code == 0, err
    code, _, err = await edgeproof(
        "workers", "dry-run", str(request), "--status", status, "--out", str(response)
    )
    assert code == 0, err
    sent = json.loads(response.read_text())
    assert sent["job_id"] == job.job_id
    code, out, err = await edgeproof(
        "workers", "respond", str(response), "--server", url, "--json", EDGEPROOF_TOKEN=made.token
    )
    receipt = json.loads(out)
    done = await user.job(job.job_id)
    assert done.status == receipt["status"] == status
    if status == "completed":
        assert code == 3, err
        assert done.result is not None
        decision = done.result["deployment_decision"]
        assert (decision["decision"], decision["basis"]) == ("unknown", "unsigned")
        assert done.result["runtime_result"]["extra"]["worker_response_mode"] == "dry_run"
    else:
        assert code == 1, err
        assert done.error is not None
        assert done.error.code == "runtime_worker_dry_run_failed"
    # Whoever watches the job from the command line: unsigned is 3, always.
    code, out, err = await edgeproof("jobs", "watch", job.job_id, "--server", url, EDGEPROOF_TOKEN=token)
    assert code == (3 if status == "completed" else 1), (out, err)
    assert ("unsigned" if status == "completed" else "runtime_worker_dry_run_failed") in out
    folder = tmp_path / "report"
    code, out, err = await edgeproof(
        "report", job.job_id, "--out", str(folder), "--server", url, EDGEPROOF_TOKEN=token
    )
    assert code == (3 if status == "completed" else 0), err
    page = (folder / "report.md").read_text()
    assert (
        "unsigned evidence" if status == "completed" else "runtime_worker_dry_run_failed"
    ) in page.replace("\\", "")


@pytest.mark.parametrize(
    "name",
    ["worker_completed_response", "worker_failed_response", "runtime_worker_completed_response",
     "runtime_worker_failed_response"],
)  # fmt: skip
async def test_the_fixtures_are_applied_as_they_are(
    user: ControlPlaneClient, worker: ControlPlaneClient, fixture_file: Any, name: str
) -> None:
    told = fixture_file(name)
    options = {**EXTERNAL, **AXES}
    await user.analyze(AnalyzeRequest(job_id=told["job_id"], model_path="m.onnx", options=options))
    await worker.send_worker_response(told["job_id"], json.dumps(told, indent=2).encode())
    job = await user.job(told["job_id"])
    assert job.status == told["status"]
    assert job.updated_at == told.get("completed_at", told.get("failed_at"))
    if job.result is not None:
        assert job.result["runtime_result"] == told["runtime_result"]
        assert ("guard_analysis" in job.result) == ("guard_analysis" in told)


async def test_a_forges_summary_is_a_request(
    raw: httpx.AsyncClient, worker: ControlPlaneClient, fixture_file: Any
) -> None:
    summary = fixture_file("forge_worker_runtime_summary")
    refused = await raw.post("/api/analyze", json=summary)
    assert (refused.status_code, refused.json()["code"]) == (400, "unknown_backend")
    taken = await raw.post("/api/analyze", json={**summary, "options": {"adapter": "external"}})
    assert taken.status_code == 200, taken.text
    told = await worker.worker_request(taken.json()["job_id"])
    assert told.options["backend"] == summary["backend"]
    assert told.input_summary["provenance"]["build_id"] == summary["build_id"]
    del summary["build_id"]
    refused = await raw.post("/api/analyze", json=summary)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    assert "build_id" in refused.json()["detail"]


async def test_wrong_answers_are_problems_and_change_nothing(
    user: ControlPlaneClient, worker: ControlPlaneClient, raw: httpx.AsyncClient, url: str
) -> None:
    job = await user.analyze(AnalyzeRequest(model_path="m.onnx", options={**EXTERNAL, **AXES}))
    route = f"/api/jobs/{job.job_id}/worker-response"
    good = completed_answer(await worker.worker_request(job.job_id))
    theirs = {"Authorization": f"Bearer {worker.token}"}
    mine = msgspec.json.decode(good)
    for body, headers, status, code in (
        (good, {}, 403, "forbidden"),
        (good, {"Authorization": "Bearer edgeproof-external-made-up"}, 401, "unauthenticated"),
        (b"{}", theirs, 400, "invalid_request"),
        (b"{", theirs, 400, "invalid_json"),
        (good.replace(b"6.42", b"NaN"), theirs, 400, "invalid_json"),
        (b"[" * 100 + b"]" * 100, theirs, 400, "body_too_deep"),
        (b'{"x":"' + b"y" * (2 << 20) + b'"}', theirs, 413, "body_too_large"),
        (json.dumps({**mine, "result": {"x": 1}}).encode(), theirs, 403, "decision_not_yours"),
        (json.dumps({**mine, "job_id": "other"}).encode(), theirs, 400, "invalid_request"),
    ):
        refused = await raw.post(route, content=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text
    assert await user.job(job.job_id) == job
    broken = json.dumps({**mine, "runtime_result": {**mine["runtime_result"], "p95_ms": -1}}).encode()
    receipt = await worker.send_worker_response(job.job_id, broken)
    assert receipt.error is not None
    assert (receipt.status, receipt.error.stage) == ("failed", "lab_validation")
    assert receipt.error.evidence[0]["path"] == "$.runtime_result.p95_ms"


async def test_workers_are_made_listed_and_revoked(
    admin: ControlPlaneClient,
    user: ControlPlaneClient,
    worker: ControlPlaneClient,
    made: WorkerToken,
    url: str,
) -> None:
    (listed,) = (await user.workers()).workers
    assert (listed.worker_id, listed.name, listed.revoked_at) == (made.worker_id, "jetson lab", None)
    token = {"EDGEPROOF_TOKEN": str(admin.token)}
    code, out, err = await edgeproof(
        "workers", "token", "create", "second", "--server", url, "--json", **token
    )
    assert code == 0, err
    second = json.loads(out)
    code, out, err = await edgeproof("workers", "token", "list", "--server", url, **token)
    assert code == 0, err
    assert made.worker_id in out
    assert second["worker_id"] in out
    assert second["token"] not in out
    code, out, err = await edgeproof("workers", "token", "revoke", made.worker_id, "--server", url, **token)
    assert code == 0, err
    with pytest.raises(Refused) as refused:
        await worker.worker_request("any")
    assert refused.value.code == "unauthenticated"
