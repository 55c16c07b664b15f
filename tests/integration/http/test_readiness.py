"""What a load balancer is told: 200 while the database answers, else 503, in time and without a token."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import httpx

from edgeproof.http.problems import PROBLEM_MEDIA_TYPE
from edgeproof.server.db.database import POOL_SIZE
from edgeproof.server.plane.control_plane import ControlPlane


async def ready(url: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
        return await client.get("/ready")


def is_unavailable(answer: httpx.Response) -> bool:
    problem = answer.json()
    return (answer.status_code, answer.headers["content-type"], problem["code"], problem["detail"]) == (
        503,
        PROBLEM_MEDIA_TYPE,
        "unavailable",
        problem["title"],
    )


async def test_a_replica_whose_database_answers_is_ready_until_it_stops(
    server: ControlPlane, url: str
) -> None:
    answer = await ready(url)
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
    assert answer.headers["cache-control"] == "no-store"
    server.stopping.set()
    assert is_unavailable(await ready(url))


async def test_a_replica_without_a_free_connection_is_not_and_probes_take_none(
    server: ControlPlane, url: str
) -> None:
    async with AsyncExitStack() as busy:
        for _ in range(POOL_SIZE):
            await busy.enter_async_context(server.database.transaction())
        async with asyncio.timeout(10):
            assert all(is_unavailable(one) for one in await asyncio.gather(*(ready(url) for _ in range(30))))
    assert (await ready(url)).status_code == 200


async def test_a_replica_whose_database_is_gone_is_not(server: ControlPlane, url: str) -> None:
    await server.database.pool.close()
    answer = await ready(url)
    assert is_unavailable(answer)


async def test_a_token_says_nothing_here(server: ControlPlane, url: str) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        answer = await client.get("/ready", headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 200
