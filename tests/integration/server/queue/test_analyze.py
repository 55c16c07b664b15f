"""What a user may ask for, and what a request gets that asks wrongly: nothing is stored then."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobFilter
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.server.artifacts.artifacts import may_read
from edgeproof.server.jobs.analyze import analyze
from edgeproof.server.jobs.jobs import get_job, list_jobs

ABSENT = "sha256:" + "0" * 64


async def code(awaitable: Any) -> str:
    with pytest.raises(Refused) as refused:
        await awaitable
    return refused.value.code


async def count(yard: Any, table: str) -> int:
    number: int = await yard.plane.database.pool.fetchval(f"SELECT count(*) FROM {table}")
    return number


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"backend": "tensorrt"}, "unknown_backend"),
        ({"engine": "rknn"}, "unknown_backend"),
        ({"target": "jetson"}, "unknown_target"),
        ({"precision": "int3"}, "unknown_precision"),
        ({"preset": "fastest"}, "unknown_preset"),
        ({"preset": "int8_static"}, "calibration_required"),
        ({"policy": "none-such"}, "unknown_policy"),
        ({"policy": ABSENT}, "unknown_policy"),
        ({"runner": "runner-0"}, "unknown_runner"),
        ({"dataset": ABSENT}, "artifact_missing"),
        ({"precision": "int8", "calibration": ABSENT}, "artifact_missing"),
        ({"baseline": {"model_path": "/etc/passwd"}}, "path_not_allowed"),
        ({"batch": 0}, "invalid_request"),
    ],
)
async def test_a_wrong_request_is_refused_and_leaves_nothing(
    yard: Any, options: dict[str, Any], expected: str
) -> None:
    assert await code(yard.analyze(**options)) == expected
    assert [await count(yard, table) for table in ("jobs", "runs", "job_artifacts")] == [0, 0, 0]


async def test_paths_are_never_opened(yard: Any) -> None:
    for path in ("/etc/hostname", "model.onnx", "file:///etc/hostname", "sha256:xyz"):
        request = AnalyzeRequest(model_path=path)
        assert await code(analyze(yard.plane, yard.user, request)) == "path_not_allowed"


async def test_only_users_analyze_and_only_what_they_may_read(
    yard: Any, admin: Any, another_user: Any
) -> None:
    assert await code(analyze(yard.plane, admin, yard.request())) == "forbidden"
    assert await code(analyze(yard.plane, yard.one.principal, yard.request())) == "forbidden"
    assert await code(analyze(yard.plane, another_user, yard.request())) == "artifact_missing"


async def test_a_named_job_is_taken_once(yard: Any) -> None:
    request = AnalyzeRequest(job_id="mine", model_path=f"sha256:{yard.model}")
    assert (await analyze(yard.plane, yard.user, request)).job_id == "mine"
    assert await code(analyze(yard.plane, yard.user, request)) == "job_exists"


async def test_an_idempotency_key_stands_for_one_request(yard: Any, another_user: Any) -> None:
    request = yard.request()
    jobs = await asyncio.gather(*(analyze(yard.plane, yard.user, request, "key") for _ in range(5)))
    assert len({job.job_id for job in jobs}) == 1
    assert await count(yard, "jobs") == 1
    assert await code(analyze(yard.plane, yard.user, yard.request(warmup=1), "key")) == "conflict"
    named = AnalyzeRequest(job_id="named", model_path=f"sha256:{yard.model}")
    first = await analyze(yard.plane, yard.user, named, "other")
    assert await analyze(yard.plane, yard.user, named, "other") == first


async def test_inputs_and_policy_are_kept_with_the_job(yard: Any) -> None:
    job = await yard.analyze()
    rows = await yard.plane.database.pool.fetch(
        "SELECT role, digest, expires_at FROM job_artifacts JOIN artifacts USING (digest) WHERE job_id = $1",
        job.job_id,
    )
    assert sorted(row["role"] for row in rows) == ["input", "input", "policy"]
    assert all(row["expires_at"] is None for row in rows)
    policy = next(row["digest"] for row in rows if row["role"] == "policy")
    async with yard.plane.database.transaction() as connection:
        assert await may_read(connection, yard.user, policy)


async def test_users_see_their_jobs_page_by_page_admins_all(yard: Any, admin: Any, another_user: Any) -> None:
    made = [(await yard.analyze()).job_id for _ in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        page = await list_jobs(yard.plane, yard.user, cursor=cursor, limit=2)
        seen += [job.job_id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == made[::-1]
    assert (await list_jobs(yard.plane, another_user)).jobs == ()
    assert len((await list_jobs(yard.plane, admin)).jobs) == 5
    assert (await list_jobs(yard.plane, yard.user, JobFilter(status="completed"))).jobs == ()
    assert await code(get_job(yard.plane, another_user, made[0])) == "not_found"
    assert await code(get_job(yard.plane, yard.user, "absent")) == "not_found"
    assert await code(list_jobs(yard.plane, yard.user, cursor="x")) == "invalid_request"
