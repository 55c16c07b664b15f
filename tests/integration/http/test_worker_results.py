"""What an external worker measured is listed and can be compared, unsigned."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from edgeproof.client import ControlPlaneClient
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobView
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.stored_results import CompareRequest, ResultFilter
from edgeproof.testing.external_worker import completed_answer

OPTIONS = {
    "adapter": "external", "backend": "tensorrt", "target": "jetson", "precision": "fp16",
    "batch": 1, "height": 192, "width": 320,
}  # fmt: skip


@pytest.fixture
async def worker(admin: ControlPlaneClient, url: str) -> AsyncIterator[ControlPlaneClient]:
    token = (await admin.create_worker("jetson lab")).token
    async with ControlPlaneClient(url, token=token) as client:
        yield client


@pytest.fixture
async def job(user: ControlPlaneClient) -> JobView:
    return await user.analyze(AnalyzeRequest(model_path="models/gate.onnx", options=OPTIONS))


async def test_a_workers_result_is_listed_and_compared(
    user: ControlPlaneClient, worker: ControlPlaneClient, job: JobView
) -> None:
    told = await worker.worker_request(job.job_id)
    await worker.send_worker_response(job.job_id, completed_answer(told))
    (listed,) = (await user.results(ResultFilter(job=job.job_id))).results
    assert (listed.basis, listed.source, listed.role) == ("unsigned", "worker", "candidate")
    done = await user.job(job.job_id)
    assert done.result is not None
    assert (await user.result(job.job_id)).result == done.result["runtime_result"]
    base = {**done.result["runtime_result"], "mean_ms": 1000.0}
    bundle = await user.compare(CompareRequest(base=base, new=job.job_id, with_guard=True))
    assert bundle["provenance"]["origin"]["new"]["job_id"] == job.job_id
    assert bundle["basis"] == "unsigned"


async def test_a_failed_response_lists_nothing(
    user: ControlPlaneClient, worker: ControlPlaneClient, job: JobView
) -> None:
    error = {"code": "broke", "message": "it broke", "stage": "runtime"}
    failed = {"job_id": job.job_id, "status": "failed", "failed_at": "2026-05-01T10:00:00Z", "error": error}
    await worker.send_worker_response(job.job_id, json.dumps(failed).encode())
    assert (await user.results()).results == ()


@pytest.mark.parametrize(
    "changes", [{"extra": {"note": "a\0b"}}, {"extra": {"count": 2**70}}, {"model": "x" * 201}, {"a\0": 1}]
)
async def test_odd_values_never_break_the_server(
    user: ControlPlaneClient, worker: ControlPlaneClient, job: JobView, changes: dict[str, Any]
) -> None:
    told = json.loads(completed_answer(await worker.worker_request(job.job_id)))
    told["runtime_result"] |= changes
    try:
        await worker.send_worker_response(job.job_id, json.dumps(told).encode())
    except Refused as refused:
        assert refused.status < 500
    assert (await user.job(job.job_id)).status in ("queued", "completed", "failed")
