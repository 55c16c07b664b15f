"""A user's road over real HTTP: ask, repeat, list, follow, resume, cancel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from edgeproof.client import ControlPlaneClient, Edgeproof
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobEvent, JobView
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.server.control_plane import ControlPlane
from edgeproof.server.principals import create_principal


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


async def test_the_sync_face(server: ControlPlane, url: str, tmp_path: object) -> None:
    token = await create_principal(server, "user", "carol")

    def use() -> tuple[JobView, JobView, list[str]]:
        with Edgeproof(url, token=token) as edgeproof:
            model = edgeproof.upload(__file__)
            queued = edgeproof.analyze(model)
            edgeproof.cancel(queued.job_id)
            types: list[str] = []
            ended = edgeproof.wait(queued.job_id, lambda event: types.append(event.type))
            assert edgeproof.job(queued.job_id) == ended
            assert edgeproof.evidence(queued.job_id, f"{tmp_path}/evidence") == []
            return queued, ended, types

    queued, ended, types = await asyncio.to_thread(use)
    assert (queued.status, ended.status) == ("queued", "cancelled")
    assert "status" in types
