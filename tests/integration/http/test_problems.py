"""Whatever goes wrong, the answer is a problem document with a stable code, and the server lives on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from edgeproof.client import ControlPlaneClient, RetryPolicy
from edgeproof.contract.errors import CODES, Refused
from edgeproof.http.body_guard import Pace
from edgeproof.server.plane.control_plane import ControlPlane


async def problem(response: httpx.Response) -> dict[str, Any]:
    """The problem document; its status and title are those of its code."""
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    code = CODES[body["code"]]
    assert response.status_code == body["status"] == code.status
    assert body["title"] == code.title
    assert body["type"] == f"urn:edgeproof:error:{body['code']}"
    assert (await _health(response)).status_code == 200
    return body


async def _health(response: httpx.Response) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(response.request.url.join("/health"))


async def test_no_such_route(raw: httpx.AsyncClient) -> None:
    for path in ("/", "/api/nothing", "/schema", "/schema/openapi.json", "/docs"):
        assert (await problem(await raw.get(path)))["code"] == "not_found"


async def test_no_such_method(raw: httpx.AsyncClient) -> None:
    response = await raw.delete("/api/jobs")
    assert (await problem(response))["code"] == "method_not_allowed"
    assert "GET" in response.headers["allow"]


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer wrong", "Basic eDp5", "Bearer r1.x.y", "Bearer \xff"]
)
async def test_no_valid_token(server: ControlPlane, url: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        response = await client.get("/api/jobs", headers=headers)
    assert (await problem(response))["code"] == "unauthenticated"
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        (b"", "invalid_request", None),
        (b"{", "invalid_json", None),
        (b'"\xff"', "invalid_json", None),
        (b"[" * 200_000, "body_too_deep", None),
        (b'{"options": ' + b"[" * 65 + b"]" * 65 + b"}", "body_too_deep", None),
        (b'{"model_path": 5}', "invalid_request", "$.model_path"),
        (b'{"job_id": "a b", "model_path": "x"}', "invalid_request", "$.job_id"),
        (json.dumps({"notes": "a\0b"}).encode(), "invalid_request", "$.notes"),
        (
            json.dumps({"options": {"provenance": {"x": "\0"}}}).encode(),
            "invalid_request",
            "$.options.provenance.x",
        ),
        (rb'{"notes": "\ud800"}', "invalid_json", None),
        (b'{"options": {"provenance": {"x": 1e999}}}', "invalid_request", None),
        (
            b'{"options": {"provenance": {"x": 99999999999999999999}}}',
            "invalid_request",
            "$.options.provenance.x",
        ),
    ],
)
async def test_bad_bodies(raw: httpx.AsyncClient, body: bytes, code: str, path: str | None) -> None:
    found = await problem(await raw.post("/api/analyze", content=body))
    assert found["code"] == code
    if path is not None:
        assert [one["path"] for one in found["errors"]] == [path]


@pytest.mark.parametrize(
    "query",
    ["status=odd", "limit=0", "limit=201", "limit=x", "cursor=%00", "cursor=a%20b", "cursor=" + "x" * 300],
)
async def test_bad_queries(raw: httpx.AsyncClient, query: str) -> None:
    assert (await problem(await raw.get(f"/api/jobs?{query}")))["code"] == "invalid_request"


async def test_no_cursor_of_dead_letters_has_a_nul(raw: httpx.AsyncClient, admin: ControlPlaneClient) -> None:
    headers = {"Authorization": f"Bearer {admin.token}"}
    answer = await raw.get("/api/queue/dead?cursor=a%00", headers=headers)
    assert (await problem(answer))["code"] == "invalid_request"


@pytest.mark.parametrize("path", ["%00", "a%20b", "..%2f..", "%ff", "x" * 300, "%ed%a0%80"])
async def test_ids_that_cannot_exist(raw: httpx.AsyncClient, path: str) -> None:
    assert (await problem(await raw.get(f"/api/jobs/{path}")))["code"] == "not_found"
    assert (await problem(await raw.get(f"/api/artifacts/sha256/{path}")))["code"] == "not_found"


async def test_a_body_over_its_limit(raw: httpx.AsyncClient) -> None:
    big = b'{"notes": "' + b"x" * (9 << 20) + b'"}'
    assert (await problem(await raw.post("/api/analyze", content=big)))["code"] == "body_too_large"

    async def chunked() -> Any:
        for _ in range(10):
            yield b"x" * (1 << 20)

    assert (await problem(await raw.post("/api/analyze", content=chunked())))["code"] == "body_too_large"


async def test_what_a_job_would_keep_is_small(raw: httpx.AsyncClient) -> None:
    """Every page of jobs shows it again."""
    options = {"mine": "x" * (256 << 10)}
    response = await raw.post("/api/analyze", json={"model_path": "sha256:" + "0" * 64, "options": options})
    assert (await problem(response))["code"] == "body_too_large"


@pytest.mark.parametrize("pace", [Pace(idle_seconds=2, grace_seconds=2)])
async def test_a_body_that_stops_coming(port: int, user: ControlPlaneClient) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /api/analyze HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\n"
    writer.write(f'{head}Content-Length: 1000\r\n\r\n{{"model_path"'.encode())
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"}")
    writer.close()
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"code":"body_too_slow"' in answer


async def test_a_refusal_reaches_a_peer_that_still_uploads(
    server: ControlPlane, url: str, tmp_path: Path
) -> None:
    file = tmp_path / "model"
    file.write_bytes(b"x" * (7 << 20))
    async with ControlPlaneClient(url, token="expired", retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(Refused) as caught:
            await client.publish(file)
    assert caught.value.code == "unauthenticated"


async def test_an_artifact_over_the_limit(user: ControlPlaneClient, tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(b"x" * (9 << 20))
    with pytest.raises(Refused) as caught:
        await user.publish(file)
    assert caught.value.code == "body_too_large"


async def test_a_database_that_cuts_its_connections_is_never_a_500(
    server: ControlPlane, raw: httpx.AsyncClient, postgres_dsn: str, fresh_dsn: str
) -> None:
    name = urlsplit(fresh_dsn).path.removeprefix("/")
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
    connection = await asyncpg.connect(postgres_dsn)
    try:
        asking = [asyncio.create_task(raw.get("/api/jobs")) for _ in range(20)]
        assert await connection.fetch(cut, name)
        statuses = {(await one).status_code for one in asking}
    finally:
        await connection.close()
    assert statuses <= {200, 503}
    assert 200 in {(await raw.get("/api/jobs")).status_code for _ in range(20)}
