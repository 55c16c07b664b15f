"""Strangers who send too much, too slowly or too deep; names that are paths; artifacts of other people."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from edgeproof.contract.canonical import sha256_hex
from edgeproof.http.body_guard import STRANGER_BYTES, Pace

from .conftest import SECRET, Scene, told

ROUTES = ("/api/runners/register", "/api/queue/claim", "/api/queue/{run}/heartbeat", "/api/queue/{run}/fail")


def _at(route: str, scene: Scene) -> str:
    return route.format(run=scene.run.run_id)


async def test_a_body_that_is_nested_too_deeply(scene: Scene) -> None:
    for route in ROUTES:
        for depth in (100, 100_000):
            body = b"[" * depth + b"]" * depth
            answered = await scene.one.post(_at(route, scene), body, scene.lease)
            assert told(answered) == (400, "body_too_deep"), route
    await scene.unharmed()


async def test_an_envelope_that_is_nested_too_deeply(scene: Scene) -> None:
    body = b'{"payload":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    answered = await scene.one.submit(scene.run, body)
    assert told(answered)[1] in ("body_too_deep", "not_canonical")
    assert answered.status_code == 400
    await scene.unharmed()


async def test_a_body_that_is_too_large(scene: Scene) -> None:
    for route in (*ROUTES, "/api/queue/{run}/submit"):
        # Of who registers, no token is asked: more than this the server would not hear out.
        size = STRANGER_BYTES - 64 if route.endswith("register") else 9 << 20
        body = b'"' + b"x" * size + b'"'
        answered = await scene.one.post(_at(route, scene), body, scene.lease)
        assert told(answered) == (413, "body_too_large"), route
    await scene.unharmed()


async def test_an_artifact_beyond_what_the_spec_allows(scene: Scene) -> None:
    await scene.plane.database.pool.execute(
        "UPDATE runs SET limits = jsonb_set(limits, '{max_upload_bytes}', '1000') WHERE run_id = $1",
        scene.run.run_id,
    )
    data = b"x" * 2000
    route = f"/api/artifacts/sha256/{sha256_hex(data)}?run_id={scene.run.run_id}"
    answered = await scene.http.put(route, content=data, headers=scene.one.headers(scene.lease))
    assert told(answered) == (413, "body_too_large")
    await scene.unharmed()


@pytest.mark.parametrize("route", ["/api/runners/register", "/api/queue/claim", "/api/queue/{run}/submit"])
@pytest.mark.parametrize("pace", [Pace(idle_seconds=2, grace_seconds=2)])
async def test_a_body_that_never_ends(scene: Scene, route: str) -> None:
    """A byte, then nothing: the server does not wait for the rest."""
    host, port = scene.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    headers = {**scene.one.headers(scene.lease), "Host": host, "Content-Length": "1000"}
    head = f"POST {_at(route, scene)} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(head.encode() + b"\r\n{")
    await writer.drain()
    async with asyncio.timeout(20):
        answered = await reader.read(4096)
    assert b" 408 " in answered.split(b"\r\n", 1)[0]
    assert b"body_too_slow" in answered
    writer.close()
    await scene.unharmed()


async def test_a_body_that_is_cut_off(scene: Scene) -> None:
    host, port = scene.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    made = scene.one.answer(scene.run)
    headers = {**scene.one.headers(scene.lease), "Host": host, "Content-Length": str(len(made.envelope))}
    head = f"POST /api/queue/{scene.run.run_id}/submit HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(head.encode() + b"\r\n" + made.envelope[:100])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await scene.unharmed()


TRICKS = (
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "..",
    "%2fetc%2fpasswd",
    "a%5cb",
    "a%00b",
    "%c3%a9",
    "a" * 201,
    "a%20b",
    "%0a",
    "x;rm",
)


async def test_names_that_are_paths(scene: Scene) -> None:
    """Ids are compared and never opened; what cannot be one is not there."""
    for trick in TRICKS:
        await _nothing_is_there(scene, trick)
    await scene.unharmed()


async def _nothing_is_there(scene: Scene, trick: str) -> None:
    calls: list[tuple[str, str, Any]] = [
        ("POST", f"/api/queue/{trick}/heartbeat", {}),
        ("POST", f"/api/queue/{trick}/submit", {}),
        ("GET", f"/api/artifacts/sha256/{trick}", None),
    ]
    for method, route, body in calls:
        answered = await _verbatim(scene, method, route, body, scene.one.token)
        assert answered[0] in (400, 404, 405, 409), (route, answered)
        assert answered[1] in ("not_found", "invalid_request", "method_not_allowed", "stale_lease"), route
    for route in (f"/api/jobs/{trick}", f"/api/jobs/{trick}/evidence", f"/api/artifacts/sha256/{trick}"):
        answered = await _verbatim(scene, "GET", route, None, scene.user.token or "")
        assert answered[0] in (400, 404), (route, answered)


async def _verbatim(scene: Scene, method: str, route: str, body: Any, token: str) -> tuple[int, str]:
    """httpx would tidy the path up; a stranger does not."""
    url = httpx.URL(scene.url).copy_with(raw_path=route.encode())
    request = scene.http.build_request(method, url, json=body, headers=scene.one.headers(scene.lease, token))
    return told(await scene.http.send(request))


async def test_a_hostname_that_is_a_path_is_only_a_text(scene: Scene) -> None:
    stranger = scene.stranger()
    token = await scene.admin.create_enrolment_token()
    answered = await stranger.register(token, hostname="../../etc/passwd")
    assert answered.is_success
    assert stranger.runner_id == f"runner-{stranger.key.public.keyid[:16]}"
    longer = await scene.stranger().http.post(
        "/api/runners/register", content=scene.stranger().request(hostname="h" * 300)
    )
    assert told(longer) == (400, "invalid_request")


# --- artifacts and jobs of other people ----------------------------------------------------------


async def test_a_runner_reads_nothing_that_its_run_does_not_name(scene: Scene) -> None:
    for digest in (scene.secret, "0" * 64):
        route = f"/api/artifacts/sha256/{digest}?run_id={scene.run.run_id}"
        answered = await scene.http.get(route, headers=scene.one.headers(scene.lease))
        assert told(answered) == (404, "not_found")
    named = f"/api/artifacts/sha256/{scene.model}?run_id={scene.run.run_id}"
    assert (await scene.http.get(named, headers=scene.one.headers(scene.lease))).status_code == 200


@pytest.mark.parametrize("how", ["no lease", "no run", "another's run"])
async def test_a_runner_reads_nothing_without_its_lease(scene: Scene, how: str) -> None:
    runner = scene.two if how == "another's run" else scene.one
    query = "" if how == "no run" else f"?run_id={scene.run.run_id}"
    lease = None if how == "no lease" else scene.lease
    answered = await scene.http.get(
        f"/api/artifacts/sha256/{scene.model}{query}", headers=runner.headers(lease)
    )
    assert told(answered) == (409, "stale_lease")


async def test_another_users_artifact_is_not_there(scene: Scene) -> None:
    """Nor for an admin; and absent ones answer alike."""
    answers = set()
    for token in (scene.user.token or "", scene.admin.token or ""):
        for digest in (scene.secret, "1" * 64):
            route = f"/api/artifacts/sha256/{digest}"
            answered = await scene.http.get(route, headers=scene.one.headers(None, token))
            answers.add((*told(answered), answered.json()["detail"]))
    assert {answer[:2] for answer in answers} == {(404, "not_found")}
    assert len(answers) == 1


async def test_another_users_artifact_cannot_be_made_ones_own_by_naming_it(scene: Scene) -> None:
    answered = await scene.http.post(
        "/api/analyze",
        json={"model_path": f"sha256:{scene.secret}"},
        headers=scene.one.headers(None, scene.user.token),
    )
    assert told(answered) == (400, "artifact_missing")
    # Who has the bytes may have them: an upload tells nothing about who else did.
    assert (await scene.user.upload_bytes(SECRET)).digest == scene.secret


@pytest.mark.parametrize("what", ["", "/evidence", "/events", "/metrics", "/cancel"])
async def test_another_users_job_is_not_there(scene: Scene, other_user: Any, what: str) -> None:
    method = "POST" if what == "/cancel" else "GET"
    headers = scene.one.headers(None, other_user.token)
    for job_id in (scene.job_id, "job-never"):
        answered = await scene.http.request(method, f"/api/jobs/{job_id}{what}", headers=headers)
        assert told(answered) == (404, "not_found")
    await scene.unharmed()
