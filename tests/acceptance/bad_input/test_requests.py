"""What is refused at once: one stable code in a problem document, and no job comes of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from edgeproof.client import ControlPlaneClient
from edgeproof.contract.errors import CODES, Refused
from edgeproof.contract.requests import AnalyzeRequest

from . import inputs
from .system import System, ended, upload

ABSENT = "sha256:" + "0" * 64


@pytest.fixture(autouse=True)
async def no_job_came_of_it(user: ControlPlaneClient) -> AsyncIterator[None]:
    before = await user.jobs(limit=200)
    yield
    assert await user.jobs(limit=200) == before


def problem(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert response.status_code == body["status"] == CODES[body["code"]].status
    assert body["detail"].strip()
    return body


OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "backend": ({"backend": "abacus"}, "unknown_backend"),
    "backend-alias": ({"engine": "abacus"}, "unknown_backend"),
    "target": ({"target": "toaster"}, "unknown_target"),
    "target-alias": ({"device_name": "toaster"}, "unknown_target"),
    "precision": ({"precision": "fp13"}, "unknown_precision"),
    "preset": ({"preset": "fastest"}, "unknown_preset"),
    "baseline-preset": ({"baseline": {"preset": "fastest"}}, "unknown_preset"),
    "static": ({"preset": "int8_static"}, "calibration_required"),
    "policy": ({"policy": "anything-goes"}, "unknown_policy"),
    "policy-digest": ({"policy": ABSENT}, "unknown_policy"),
    "runner": ({"runner": "runner-0"}, "unknown_runner"),
    "data-set": ({"dataset": ABSENT}, "artifact_missing"),
    "calibration": ({"preset": "int8_static", "calibration": ABSENT}, "artifact_missing"),
    "data-set-path": ({"dataset": "/etc/passwd"}, "invalid_request"),
    "baseline-path": ({"baseline": {"model_path": "/etc/passwd"}}, "path_not_allowed"),
    "batch": ({"batch": 0}, "invalid_request"),
    "batch-text": ({"batch": "1"}, "invalid_request"),
    "dimension": ({"input_shapes": {"x": [1, -8]}}, "invalid_request"),
    "memory": ({"limits": {"max_memory_bytes": 1}}, "invalid_request"),
    "time": ({"limits": {"max_seconds": 0}}, "invalid_request"),
    "threads": ({"threads": 10**6}, "invalid_request"),
    "adapter": ({"adapter": "cloud"}, "invalid_request"),
}


@pytest.mark.parametrize("case", OPTIONS)
async def test_options(user: ControlPlaneClient, raw: httpx.AsyncClient, case: str) -> None:
    options, code = OPTIONS[case]
    request = {"model_path": await upload(user, inputs.linear()), "options": options}
    assert problem(await raw.post("/api/analyze", json=request))["code"] == code


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/etc/passwd", "path_not_allowed"),
        ("../model.onnx", "path_not_allowed"),
        ("file:///etc/passwd", "path_not_allowed"),
        ("http://127.0.0.1:1/model.onnx", "path_not_allowed"),
        ("sha256:" + "0" * 63, "path_not_allowed"),
        ("sha256:" + "A" * 64, "path_not_allowed"),
        (ABSENT + "\n", "path_not_allowed"),
        ("", "invalid_request"),
        ("x" * 5000, "invalid_request"),
        (ABSENT, "artifact_missing"),
    ],
)
async def test_model_paths(raw: httpx.AsyncClient, path: str, code: str) -> None:
    for field in ("model_path", "artifact_path"):
        assert problem(await raw.post("/api/analyze", json={field: path}))["code"] == code


@pytest.mark.parametrize("job_id", ["", "a b", "a/b", "ü", "a\n", "x" * 201, 5, ["a"]])
async def test_job_ids(raw: httpx.AsyncClient, job_id: Any) -> None:
    response = await raw.post("/api/analyze", json={"job_id": job_id, "model_path": ABSENT})
    assert problem(response)["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[]", "invalid_request"),
        (b'"x"', "invalid_request"),
        (b"5", "invalid_request"),
        (b"null", "invalid_request"),
        (b"{}", "invalid_request"),
        (b'{"model_path": "x", "options": []}', "invalid_request"),
        (b'{"model_path": "x", "options": {"batch": 1e999}}', "invalid_request"),
        (b'{"model_path": "x", "options": {"batch": ' + b"9" * 400 + b"}}", "invalid_request"),
        (b'{"model_path": "x", "options": {"provenance": {"n": ' + b"9" * 5000 + b"}}}", "invalid_request"),
        (b'{"model_path": "x", "options": {"batch": NaN}}', "invalid_json"),
        (b'{"model_path": "x", "options": {"batch": Infinity}}', "invalid_json"),
        (rb'{"model_path": "\ud800"}', "invalid_json"),
        (b'{"model_path": "\xff"}', "invalid_json"),
        (rb'{"model_path": "a\u0000b"}', "invalid_request"),
        (rb'{"model_path": "x", "options": {"a\u0000b": 1}}', "invalid_request"),
        (b'{"model_path": "x"', "invalid_json"),
        (b"[" * 200_000, "body_too_deep"),
        (b'{"options": ' + b"[" * 65 + b"]" * 65 + b"}", "body_too_deep"),
        (b'{"notes": "' + b"x" * (8 << 20) + b'"}', "body_too_large"),
    ],
    ids=lambda value: repr(value[:40]),
)
async def test_bodies(raw: httpx.AsyncClient, body: bytes, code: str) -> None:
    assert problem(await raw.post("/api/analyze", content=body))["code"] == code


async def test_an_artifact_of_another_user(system: System, user: ControlPlaneClient) -> None:
    """Theirs and absent answer alike, to naming and to reading, until one has the bytes oneself."""
    async with system.client(await system.other_user()) as other:
        secret = await upload(other, b"weights of somebody else")
        with pytest.raises(Refused) as named:
            await user.analyze(AnalyzeRequest(model_path=secret))
        with pytest.raises(Refused) as absent:
            await user.analyze(AnalyzeRequest(model_path=ABSENT))
        assert named.value.code == absent.value.code == "artifact_missing"
        assert named.value.detail == absent.value.detail.replace(ABSENT, secret)
        for digest in (secret, ABSENT):
            with pytest.raises(Refused) as read:
                await user.fetch(digest.removeprefix("sha256:"), max_bytes=100)
            assert read.value.code == "not_found"


async def test_an_admin_token_cannot_analyze(system: System) -> None:
    async with system.admin() as admin:
        with pytest.raises(Refused) as caught:
            await admin.analyze(AnalyzeRequest(model_path=ABSENT))
    assert caught.value.code == "forbidden"


async def test_no_token_or_a_wrong_one(system: System, raw: httpx.AsyncClient) -> None:
    for header in ("", "Bearer wrong", "Basic eDp5"):
        response = await raw.post(
            "/api/analyze", json={"model_path": ABSENT}, headers={"Authorization": header}
        )
        assert problem(response)["code"] == "unauthenticated"


@pytest.mark.parametrize("job_id", ["no-such-job", "%00", "..%2f..", "x" * 300])
async def test_jobs_that_are_not_there(raw: httpx.AsyncClient, job_id: str) -> None:
    for method, route in (("GET", ""), ("POST", "/cancel"), ("GET", "/events"), ("GET", "/evidence")):
        response = await raw.request(method, f"/api/jobs/{job_id}{route}")
        assert problem(response)["code"] == "not_found"


class TestTakenNames:
    """Here a job comes of it: one."""

    @pytest.fixture(autouse=True)
    async def no_job_came_of_it(self) -> None:
        return None

    async def test_a_name_that_is_taken(self, raw: httpx.AsyncClient, user: ControlPlaneClient) -> None:
        request = {"job_id": "my-job", "model_path": await upload(user, b"no model")}
        first = await raw.post("/api/analyze", json=request)
        assert first.status_code == 200
        second = problem(await raw.post("/api/analyze", json=request))
        assert second["code"] == "job_exists"
        assert "my-job" in second["detail"]
        assert (await ended(user, "my-job")).status == "failed"
        assert problem(await raw.post("/api/analyze", json=request))["code"] == "job_exists"
        assert problem(await raw.post("/api/jobs/my-job/cancel"))["code"] == "job_terminal"

    async def test_a_key_that_stands_for_another_request(
        self, raw: httpx.AsyncClient, user: ControlPlaneClient
    ) -> None:
        request = json.dumps({"model_path": await upload(user, b"no model")})
        headers = {"Idempotency-Key": "once"}
        first = (await raw.post("/api/analyze", content=request, headers=headers)).json()
        again = (await raw.post("/api/analyze", content=request, headers=headers)).json()
        assert first["job_id"] == again["job_id"]
        other = await raw.post("/api/analyze", json={"model_path": ABSENT}, headers=headers)
        assert problem(other)["code"] == "conflict"
        await ended(user, first["job_id"])
