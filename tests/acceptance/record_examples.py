"""``python -m tests.acceptance.record_examples`` remakes ``openapi/examples/`` from a live server.

One road through the API by each kind of caller, as it was really asked and answered; the devices' numbers are
invented ones of ``edgeproof.testing``. Tokens are taken out. Run it when a message has changed so that
``tests/contract/test_examples.py`` fails.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from edgeproof.client import ControlPlaneClient
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.jobs import Progress
from edgeproof.contract.policy import Policy
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.runners import ClaimRequest, FailRequest, Gpu, HeartbeatRequest
from edgeproof.contract.stored_results import CompareRequest
from edgeproof.domain.runs import Lease
from edgeproof.http.openapi import description
from edgeproof.lab.policies import default_policy
from edgeproof.testing.answers import answer
from edgeproof.testing.evidence import Scene

from .running_system import Up, capable, up

EXAMPLES: Final = Path(__file__).parents[2] / "openapi" / "examples"
FIXTURES: Final = Path(__file__).parents[1] / "fixtures"
SECRET: Final = ("token", "lease_token", "enrolment_token")
JSON: Final = "application/json"


class Recorder(httpx.AsyncBaseTransport):
    """Passes everything on and keeps the last good JSON exchange of each operation."""

    def __init__(self) -> None:
        self._inner = httpx.AsyncHTTPTransport()
        self._routes = [
            (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + r"\Z"), operation["operationId"])
            for path, operations in description()["paths"].items()
            for method, operation in operations.items()
        ]
        # A fixed word before a parameter: `/runners/keys` is no runner.
        self._routes.sort(key=lambda route: route[1].pattern.count("[^/]+"))
        self.kept: dict[str, dict[str, Any]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        asked = await request.aread()
        response = await self._inner.handle_async_request(request)
        if response.is_success and response.headers.get("content-type", "").startswith(JSON):
            answered = await response.aread()
            self.kept[self._operation(request)] = {
                "request": json.loads(asked) if request.headers.get("content-type") == JSON else None,
                "status": response.status_code,
                "answer": json.loads(answered),
            }
        return response

    def _operation(self, request: httpx.Request) -> str:
        return next(
            name
            for method, path, name in self._routes
            if method == request.method and path.match(request.url.path)
        )


def without_secrets(part: Any) -> Any:
    if isinstance(part, list):
        return [without_secrets(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {
        name: "not-a-token" if name in SECRET and value is not None else without_secrets(value)
        for name, value in part.items()
    }


async def work_off(device: ControlPlaneClient, key: SigningKey) -> None:
    """Claims, heartbeats and submits until nothing waits."""
    while claimed := await device.claim(ClaimRequest()):
        lease = Lease(claimed.attempt, claimed.lease_token)
        beat = HeartbeatRequest(progress=Progress(completed=3, total=8, unit="pairs"))
        await device.heartbeat(claimed.run_id, lease, beat)
        made = answer(claimed.job_spec.encode(), key, Scene(images=1000))
        for data in made.uploads:
            await device.upload_bytes(data, run_id=claimed.run_id, lease=lease)
        await device.submit(claimed.run_id, lease, made.envelope)


async def ended(user: ControlPlaneClient, job_id: str) -> None:
    async for _ in user.events(job_id):
        pass


async def record(system: Up, recorder: Recorder) -> None:
    credentials, address = system.credentials, system.ready.url
    key = SigningKey.generate()
    async with (
        ControlPlaneClient(address, token=credentials.admin_token, transport=recorder) as admin,
        ControlPlaneClient(address, token=credentials.user_token, transport=recorder) as user,
        ControlPlaneClient(address, transport=recorder) as device,
    ):
        await user.health()
        gpu = Gpu(name="NVIDIA L4", memory_bytes=24 << 30, driver="570.133.20", compute_capability="8.9")
        board = msgspec.structs.replace(capable(), labels={"site": "lab"}, gpus=(gpu,))
        await device.register(key, board, await admin.create_enrolment_token())
        model = await user.upload_bytes(b"a model")
        named = {"model_path": f"sha256:{model.digest}"}
        dataset = f"sha256:{(await user.upload_bytes(b'a test set')).digest}"
        options = {
            "preset": "fp32", "batch": 1, "dataset": dataset, "provenance": {"model_name": "gate-camera"},
            "runner_labels": {"site": "lab"}, "min_vram_bytes": 16 << 30,
        }  # fmt: skip
        asked = AnalyzeRequest(**named, options=options, notes="nightly")
        failing = await user.analyze(AnalyzeRequest(**named, options={"preset": "fp32", "batch": 1}))
        claimed = await device.claim(ClaimRequest(capabilities=board, wait_seconds=5))
        assert claimed is not None
        failure = FailRequest(
            code="model_invalid", message="not an ONNX model", fault="user", retryable=False
        )
        await device.fail(claimed.run_id, Lease(claimed.attempt, claimed.lease_token), failure)
        await ended(user, failing.job_id)
        await user.cancel((await user.analyze(asked)).job_id)
        external = await user.analyze(
            AnalyzeRequest(**named, options={"adapter": "external", "precision": "fp32"})
        )
        jobs = [await user.analyze(asked) for _ in range(2)]
        await work_off(device, key)
        for job in jobs:
            await ended(user, job.job_id)
        for job in jobs:
            view = await user.job(job.job_id)
            assert view.status == "completed", view.error
        job_id = jobs[0].job_id
        for ask in (user.evidence, user.metrics, user.job):
            await ask(job_id)
        await user.jobs(limit=2)
        await results(user, jobs[0].job_id, jobs[1].job_id)
        await workers(admin, address, recorder, external.job_id)
        await admin.add_policy(stricter(default_policy()))
        await user.policies()
        await user.policy("edgeproof-default")
        (runner,) = (await admin.runners()).runners
        await admin.runner(runner.runner_id)
        await admin.add_runner_key(SigningKey.generate().public.base64)
        await admin.runner_keys()
        await admin.audit(limit=3)
        await admin.audit_seals()


async def results(user: ControlPlaneClient, first: str, second: str) -> None:
    await user.compare(CompareRequest(base_result=first, new_result=second))
    kept = await user.result(first)
    measured = {**kept.result, "timestamp": "2026-01-02T04:04:05Z"}
    await user.add_result(measured)
    await user.results(limit=2)
    for path, query in (
        ("/api/compare", {"base": first, "new": second}),
        ("/api/compare-latest", {}),
        ("/api/history", {"limit": "2"}),
    ):
        await user._exchange.send("GET", path, query=query, idempotent=True)


async def workers(admin: ControlPlaneClient, address: str, recorder: Recorder, job_id: str) -> None:
    made = await admin.create_worker("a Forge of others")
    async with ControlPlaneClient(address, token=made.token, transport=recorder) as worker:
        await worker.worker_request(job_id)
        said = json.loads((FIXTURES / "worker_completed_response.json").read_text())
        await worker.send_worker_response(job_id, json.dumps({**said, "job_id": job_id}).encode())
    await admin.workers()
    await admin.revoke_worker(made.worker_id)


def stricter(policy: Policy) -> Policy:
    return msgspec.structs.replace(policy, name="nightly")


def main() -> None:
    recorder = Recorder()
    with tempfile.TemporaryDirectory() as folder, up(Path(folder) / "data", "--no-runner") as system:
        asyncio.run(record(system, recorder))
    EXAMPLES.mkdir(exist_ok=True)
    # What no caller here asks for (batches) was written by hand; it goes with its operation.
    operations = {one["operationId"] for path in description()["paths"].values() for one in path.values()}
    for old in EXAMPLES.glob("*.json"):
        if old.stem not in operations:
            old.unlink()
    for name, exchange in recorder.kept.items():
        text = json.dumps(without_secrets(exchange), indent=1, ensure_ascii=False, sort_keys=True)
        (EXAMPLES / f"{name}.json").write_text(text + "\n")
    sys.stdout.write(f"{len(recorder.kept)} examples in {EXAMPLES}\n")


if __name__ == "__main__":
    main()
