"""A user's road over real HTTP: ask, repeat, list, follow, resume, cancel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from edgeproof.client import Client, ControlPlaneClient
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobEvent, JobView
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.lab.dev_bundle import OBJECTS
from edgeproof.lab.policies import default_policy
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.server.plane.principals import authenticate, create_principal


@pytest.fixture
async def model(user: ControlPlaneClient) -> str:
    return f"sha256:{(await user.upload_bytes(b'a model')).digest}"


@pytest.fixture
async def job(user: ControlPlaneClient, model: str) -> JobView:
    return await user.analyze(AnalyzeRequest(model_path=model))


async def refused(work: object) -> str:
    with pytest.raises(Refused) as caught:
        await work  # type: ignore[misc]  # any coroutine
    return caught.value.code


async def test_a_job_is_queued_and_found(user: ControlPlaneClient, job: JobView) -> None:
    assert job.status == "queued"
    assert (await user.job(job.job_id)).job_id == job.job_id


async def test_the_same_key_gives_the_same_job(user: ControlPlaneClient, model: str) -> None:
    request = AnalyzeRequest(model_path=model)
    first = await user.analyze(request, idempotency_key="once")
    assert (await user.analyze(request, idempotency_key="once")).job_id == first.job_id
    other = AnalyzeRequest(model_path=model, notes="other")
    assert await refused(user.analyze(other, idempotency_key="once")) == "conflict"


async def test_whose_job_it_is(
    user: ControlPlaneClient, other_user: ControlPlaneClient, admin: ControlPlaneClient, job: JobView
) -> None:
    assert await refused(other_user.job(job.job_id)) == "not_found"
    assert await refused(other_user.cancel(job.job_id)) == "not_found"
    assert await refused(other_user.evidence(job.job_id)) == "not_found"
    assert await refused(anext(aiter(other_user.events(job.job_id)))) == "not_found"
    assert (await other_user.jobs()).jobs == ()
    assert (await admin.job(job.job_id)).job_id == job.job_id
    assert await refused(admin.analyze(AnalyzeRequest(model_path="x"))) == "forbidden"


async def test_pages_do_not_repeat_or_lose_jobs_while_new_ones_come(
    user: ControlPlaneClient, model: str
) -> None:
    made = [(await user.analyze(AnalyzeRequest(model_path=model))).job_id for _ in range(5)]
    first = await user.jobs(limit=2)
    await user.analyze(AnalyzeRequest(model_path=model))
    second = await user.jobs(limit=2, cursor=first.next_cursor)
    third = await user.jobs(limit=2, cursor=second.next_cursor)
    seen = [job.job_id for page in (first, second, third) for job in page.jobs]
    assert seen == made[::-1]
    assert third.next_cursor is None
    assert len((await user.jobs(status="queued")).jobs) == 6
    assert (await user.jobs(status="failed")).jobs == ()


async def test_filters(
    server: ControlPlane,
    user: ControlPlaneClient,
    other_user: ControlPlaneClient,
    admin: ControlPlaneClient,
    model: str,
) -> None:
    strict = msgspec.structs.replace(default_policy(), name="strict")
    digest = (await admin.add_policy(strict)).info.digest
    plain = await user.analyze(AnalyzeRequest(model_path=model))
    named = await user.analyze(AnalyzeRequest(model_path=model, options={"policy": "strict"}))
    theirs = f"sha256:{(await other_user.upload_bytes(b'theirs')).digest}"
    other = await other_user.analyze(AnalyzeRequest(model_path=theirs))

    async def listed(client: ControlPlaneClient, **wanted: Any) -> list[str]:
        return [job.job_id for job in (await client.jobs(**wanted)).jobs]

    assert await listed(user, policy="strict") == await listed(user, policy=digest) == [named.job_id]
    assert await listed(user, policy="edgeproof-default") == [plain.job_id]
    assert await listed(user, policy="nobodys") == []
    assert await listed(user, workflow="analyze", status="queued") == [named.job_id, plain.job_id]
    assert await listed(user, workflow="tune") == []
    owner = (await authenticate(server, user.token)).principal_id
    assert await listed(admin, owner=owner) == [named.job_id, plain.job_id]
    assert await listed(admin, owner=owner, policy="strict", status="queued") == [named.job_id]
    assert await listed(admin) == [other.job_id, named.job_id, plain.job_id]
    assert await listed(user, owner=owner) == [named.job_id, plain.job_id]
    assert await listed(other_user, owner=owner) == []


async def test_bad_requests_name_what_is_wrong(user: ControlPlaneClient, model: str) -> None:
    for options, code in [
        ({"backend": "tpu"}, "unknown_backend"),
        ({"target": "moon"}, "unknown_target"),
        ({"preset": "fp3"}, "unknown_preset"),
        ({"policy": "none"}, "unknown_policy"),
        ({"batch": 0}, "invalid_request"),
        ({"dataset": "sha256:" + "0" * 64}, "artifact_missing"),
    ]:
        request = AnalyzeRequest(model_path=model, options=options)
        assert await refused(user.analyze(request)) == code, options
    assert await refused(user.analyze(AnalyzeRequest(model_path="/etc/passwd"))) == "path_not_allowed"


async def test_links_name_only_routes_that_exist(
    user: ControlPlaneClient, raw: httpx.AsyncClient, job: JobView
) -> None:
    assert set(job.links) >= {"self", "events", "cancel"}
    for name, link in job.links.items():
        if name != "cancel":
            async with raw.stream("GET", link) as response:
                assert response.status_code == 200, name
    cancelled = msgspec.convert((await raw.post(job.links["cancel"])).json(), JobView)
    assert cancelled.next_actions == ("create_new_job",)
    assert "cancel" not in cancelled.links
    assert {(await raw.get(link)).status_code for link in cancelled.links.values()} == {200}


async def test_completing_by_hand_is_for_development(
    server: ControlPlane, raw: httpx.AsyncClient, job: JobView
) -> None:
    route, told = f"/api/jobs/{job.job_id}/complete-dev", {name: {} for name in OBJECTS}
    told["summary"] = {"deployment_decision": "deployable"}
    told["deployment_decision"] = {"decision": "deployable"}
    for body in (b'{"result": {', b"{}", json.dumps({"result": told}).encode()):
        absent = await raw.post(route, content=body, headers={"Content-Type": "application/json"})
        assert (absent.status_code, absent.json()["code"]) == (404, "not_found")
    assert not server.settings.dev
    assert "complete" not in " ".join((await raw.get(f"/api/jobs/{job.job_id}")).json()["links"])


async def test_cancelling_ends_the_stream(user: ControlPlaneClient, job: JobView) -> None:
    seen: list[JobEvent] = []
    first = asyncio.Event()

    async def follow() -> None:
        async for event in user.events(job.job_id):
            seen.append(event)
            first.set()

    following = asyncio.create_task(follow())
    async with asyncio.timeout(20):
        await first.wait()
        assert (await user.cancel(job.job_id)).status == "cancelled"
        await following
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].data["status"] == "cancelled"
    assert (await user.evidence(job.job_id)).items == ()


async def test_a_stream_resumes_behind_the_last_event(
    user: ControlPlaneClient, raw: httpx.AsyncClient, job: JobView
) -> None:
    await user.cancel(job.job_id)
    all_events = [event async for event in user.events(job.job_id)]
    assert len(all_events) >= 2
    assert [event async for event in user.events(job.job_id, after=1)] == all_events[1:]
    response = await raw.get(f"/api/jobs/{job.job_id}/events", headers={"Last-Event-ID": "1"})
    assert response.headers["content-type"].startswith("text/event-stream")
    ids = [line for line in response.text.splitlines() if line.startswith("id: ")]
    assert ids == [f"id: {event.seq}" for event in all_events[1:]]
    assert response.text.endswith("event: end\ndata: {}\n\n")
    odd = await raw.get(f"/api/jobs/{job.job_id}/events", headers={"Last-Event-ID": "x"})
    assert odd.json()["code"] == "invalid_request"


async def lines_of(response: httpx.Response, told: asyncio.Event) -> AsyncIterator[str]:
    async for line in response.aiter_lines():
        if line.startswith("id: "):
            told.set()
        yield line


async def test_a_stopping_server_ends_the_stream_without_an_end(
    server: ControlPlane, raw: httpx.AsyncClient, job: JobView
) -> None:
    told = asyncio.Event()
    async with raw.stream("GET", f"/api/jobs/{job.job_id}/events") as response:

        async def read() -> list[str]:
            return [line async for line in lines_of(response, told)]

        reading = asyncio.create_task(read())
        async with asyncio.timeout(10):
            await told.wait()
            server.stopping.set()
            lines = await reading
    assert "event: end" not in lines


async def test_the_sync_face(server: ControlPlane, url: str, tmp_path: Path) -> None:
    token = await create_principal(server, "user", "carol")

    def use() -> tuple[JobView, JobView, list[str]]:
        with Client(url, token=token) as client:
            job = client.analyze(client.upload(__file__))
            queued = job.view
            with pytest.raises(Refused, match="wait for its end"):
                job.report()
            with pytest.raises(TimeoutError):
                job.wait(timeout=0.2)
            assert job.cancel().cancel_requested_at is not None
            types: list[str] = []
            ended = job.wait(progress=lambda event: types.append(event.type))
            assert (job.status, job.decision) == ("cancelled", None)
            assert client.job(job.job_id).view == ended == client.jobs().jobs[0]
            assert job.evidence(f"{tmp_path}/evidence") == []
            assert job.job_id in job.report(f"{tmp_path}/report.html")
            return queued, ended, types

    queued, ended, types = await asyncio.to_thread(use)
    assert (queued.status, ended.status) == ("queued", "cancelled")
    assert "status" in types


async def test_files_are_uploaded_and_a_repeated_key_is_the_same_job(
    server: ControlPlane, url: str, tmp_path: Path
) -> None:
    token = await create_principal(server, "user", "carol")
    for name in ("model.onnx", "baseline.onnx", "test.npz"):
        (tmp_path / name).write_text(name)

    def use() -> None:
        with Client(url, token=token) as client:
            first, second = (
                client.analyze(
                    tmp_path / "model.onnx",
                    baseline=tmp_path / "baseline.onnx",
                    dataset=str(tmp_path / "test.npz"),
                    options={"batch": 1},
                    idempotency_key="one",
                )
                for _ in range(2)
            )
            assert first.view == second.view
            assert len(client.jobs().jobs) == 1
            options = first.view.input_summary["options"]
            assert options["provenance"] == {"model_name": "model"}
            assert options["baseline"]["model_path"] == client.upload(tmp_path / "baseline.onnx")
            assert options["dataset"] == client.upload(tmp_path / "test.npz")

    await asyncio.to_thread(use)


def test_the_address_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEPROOF_SERVER", raising=False)
    with pytest.raises(Refused, match="EDGEPROOF_SERVER"):
        Client()
