"""Batches, standing and dead letters over real HTTP, and the commands that ask for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest
from click.testing import CliRunner

from edgeproof.cli.main import cli
from edgeproof.client import ControlPlaneClient
from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.runners import (
    ClaimRequest,
    FailRequest,
    Gpu,
    HeartbeatBatch,
    HeartbeatItem,
    SubmitBatch,
    SubmitItem,
)
from edgeproof.domain.runs import Lease
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.testing.answers import answer

from .conftest import CAPABILITIES

Ask = Callable[..., Awaitable[Any]]


class Plain:
    """What a command is given besides its arguments: no token of the environment's."""

    token: str | None = None


@pytest.fixture
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture
async def runner(
    server: ControlPlane, url: str, admin: ControlPlaneClient, key: SigningKey
) -> AsyncIterator[ControlPlaneClient]:
    async with ControlPlaneClient(url) as client:
        await client.register(key, CAPABILITIES, await admin.create_enrolment_token())
        yield client


@pytest.fixture
def ask(url: str, admin: ControlPlaneClient) -> Ask:
    """Runs a command against the server, as an admin, and reads the JSON it prints."""

    async def run(*arguments: str) -> Any:
        options = ["--server", url, "--token", str(admin.token), "--json"]
        result = await asyncio.to_thread(CliRunner().invoke, cli, [*arguments, *options], obj=Plain())
        assert result.exit_code == 0, result.output
        return msgspec.json.decode(result.output)

    return run


@pytest.fixture
def read(url: str, admin: ControlPlaneClient) -> Ask:
    """Runs a command against the server, as an admin: its exit code, and what it prints for people."""

    async def run(*arguments: str) -> tuple[int, str]:
        options = ["--server", url, "--token", str(admin.token)]
        result = await asyncio.to_thread(CliRunner().invoke, cli, [*arguments, *options], obj=Plain())
        return result.exit_code, result.output

    return run


async def queue_job(user: ControlPlaneClient) -> str:
    model = (await user.upload_bytes(b"a model")).digest
    return (await user.analyze(AnalyzeRequest(model_path=f"sha256:{model}"))).job_id


async def test_a_batch_goes_the_whole_road(
    user: ControlPlaneClient, runner: ControlPlaneClient, key: SigningKey
) -> None:
    job_id = await queue_job(user)
    runs = (await runner.claim_batch(ClaimRequest(max_runs=64))).runs
    assert {run.job_id for run in runs} == {job_id}
    assert len(runs) == 2
    leases = [Lease(run.attempt, run.lease_token).header() for run in runs]
    beats = [HeartbeatItem(run_id=run.run_id, lease=lease) for run, lease in zip(runs, leases, strict=True)]
    answers = (await runner.heartbeats(HeartbeatBatch(items=tuple(beats)))).items
    assert all(one.answer is not None and not one.answer.cancel_requested for one in answers)
    items = []
    for run, lease in zip(runs, leases, strict=True):
        made = answer(run.job_spec.encode(), key)
        for data in made.uploads:
            await runner.upload_bytes(data, run_id=run.run_id, lease=Lease(run.attempt, run.lease_token))
        items.append(SubmitItem(run_id=run.run_id, lease=lease, envelope=made.envelope.decode()))
    done = (await runner.submits(SubmitBatch(items=tuple(items)))).items
    assert [one.answer.state for one in done if one.answer] == ["COMPLETE", "COMPLETE"]
    assert (await runner.claim_batch(ClaimRequest(max_runs=64))).runs[0].stage == "runtime"


@pytest.mark.parametrize("count", [0, 65])
async def test_a_batch_has_its_bounds(raw: httpx.AsyncClient, count: int) -> None:
    item = {"run_id": "r", "lease": "1.x", "envelope": ""}
    for route in ("heartbeat", "submit"):
        refused = await raw.post(f"/api/queue/{route}", json={"items": [item] * count})
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    refused = await raw.post("/api/queue/claim", json={"max_runs": count})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")


async def test_only_runners_send_batches(raw: httpx.AsyncClient) -> None:
    for route in ("heartbeat", "submit"):
        item = {"run_id": "r", "lease": "1.x", "envelope": ""}
        refused = await raw.post(f"/api/queue/{route}", json={"items": [item]})
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_a_runner_that_is_not_to_work_is_told(
    server: ControlPlane, url: str, runner: ControlPlaneClient, user: ControlPlaneClient, ask: Ask
) -> None:
    await queue_job(user)
    runner_id = (await user.runners()).runners[0].runner_id
    held = await ask("fleet", "drain", runner_id, "--reason", "moving")
    assert (held["standing"], held["reason"], held["held"]) == ("draining", "moving", 0)
    headers = {"Authorization": f"Bearer {runner.token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as raw:
        nothing = await raw.post("/api/queue/claim", json={})
        assert (nothing.status_code, nothing.headers["Edgeproof-Standing"]) == (204, "draining")
        assert await runner.claim_or_standing(ClaimRequest()) == "draining"
        assert (await ask("fleet", "quarantine", runner_id))["standing"] == "quarantined"
        assert (await ask("fleet", "release", runner_id))["standing"] == "active"
        assert (await raw.post("/api/queue/claim", json={})).status_code == 200


async def test_whoever_lists_the_fleet_sees_who_is_quarantined(
    url: str, runner: ControlPlaneClient, admin: ControlPlaneClient, user: ControlPlaneClient, ask: Ask
) -> None:
    runner_id = (await user.runners()).runners[0].runner_id
    await ask("fleet", "quarantine", runner_id, "--reason", "a loose fan")
    for command, words in (
        (["list"], ["quarantined"]),
        (["show", runner_id], ["quarantined: a loose fan"]),
    ):
        arguments = ["fleet", *command, "--server", url, "--token", admin.token or ""]
        shown = await asyncio.to_thread(CliRunner().invoke, cli, arguments, obj=Plain())
        assert shown.exit_code == 0, shown.output
        assert [one for one in words if one not in shown.output] == []


async def test_enrolment_tokens_are_listed_and_revoked_by_their_digests(
    url: str, admin: ControlPlaneClient, raw: httpx.AsyncClient, ask: Ask
) -> None:
    token = await admin.create_enrolment_token(uses=3)
    digest = sha256_hex(token.encode())
    listed = await ask("runner", "tokens", "list")
    assert [(one["digest"], one["uses_left"], one["revoked_at"]) for one in listed["tokens"]] == [
        (digest, 3, None)
    ]
    assert token not in str(listed)
    ended = await ask("runner", "tokens", "revoke", f"sha256:{digest}")
    assert ended["revoked_at"] is not None
    assert await ask("runner", "tokens", "revoke", digest) == ended
    assert (await admin.enrolment_tokens()).tokens[0].revoked_at == ended["revoked_at"]
    async with ControlPlaneClient(url) as late:
        with pytest.raises(Refused, match="key_not_allowed"):
            await late.register(SigningKey.generate(), CAPABILITIES, token)
    for unknown in ("0" * 64, "no-digest"):
        with pytest.raises(Refused, match="not_found"):
            await admin.revoke_enrolment_token(unknown)
    route = "/api/enrolment-tokens"
    refused = [await raw.get(route), await raw.delete(f"{route}/{digest}")]
    assert [answer.status_code for answer in refused] == [403, 403]


async def use_up(user: ControlPlaneClient, runner: ControlPlaneClient, message: str = "") -> tuple[str, str]:
    """A job, and the run of it whose attempts are used up."""
    job_id = await queue_job(user)
    run_id = None
    for _ in range(3):
        claimed = await runner.claim(ClaimRequest())
        assert claimed is not None
        assert run_id in (None, claimed.run_id)
        run_id = claimed.run_id
        failure = FailRequest(code="stage_crashed", message=message, fault="device", retryable=True)
        await runner.fail(run_id, Lease(claimed.attempt, claimed.lease_token), failure)
    assert run_id is not None
    return job_id, run_id


async def test_dead_letters_are_listed_and_done_again(
    user: ControlPlaneClient, runner: ControlPlaneClient, ask: Ask
) -> None:
    job_id, run_id = await use_up(user, runner)
    (letter,) = (await ask("queue", "dead"))["runs"]
    assert (letter["job_id"], letter["run_id"], letter["attempts"]) == (job_id, run_id, 3)
    assert (await ask("queue", "stats"))["dead"] == 1
    (again,) = await ask("queue", "requeue", job_id)
    assert (again["retry_of"], again["status"]) == (job_id, "queued")
    assert (await user.job(again["job_id"])).runs[0].queue_position == 1


async def test_what_was_done_again_is_told_though_the_next_is_refused(
    user: ControlPlaneClient, runner: ControlPlaneClient, read: Ask
) -> None:
    job_id, _ = await use_up(user, runner)
    code, told = await read("queue", "requeue", job_id, "job_unknown")
    done, error = told.splitlines()
    assert (code, done.startswith(f"{job_id} is done again as job_")) == (1, True)
    assert error == "error: no such job [not_found]"
    _, told = await read("queue", "requeue", job_id, "job_unknown", "--json")
    assert [one["retry_of"] for one in json.JSONDecoder().raw_decode(told)[0]] == [job_id]


async def test_what_a_runner_says_steers_no_operators_terminal(
    user: ControlPlaneClient, url: str, admin: ControlPlaneClient, key: SigningKey, read: Ask
) -> None:
    forged = "x\x1b[2K\r\n\x9bstanding  active"
    shown = "x?[2K???standing  active"
    gpu = Gpu(name=forged, memory_bytes=1 << 30, driver=forged)
    told = msgspec.structs.replace(CAPABILITIES, gpus=(gpu,))
    async with ControlPlaneClient(url) as runner:
        await runner.register(key, told, await admin.create_enrolment_token())
        job_id, _ = await use_up(user, runner, message=forged)
    (one,) = (await admin.runners()).runners
    await admin.set_standing(one.runner_id, "draining", forged)
    _, fleet = await read("fleet", "show", one.runner_id)
    _, dead = await read("queue", "dead")
    _, job = await read("jobs", "show", job_id)
    assert f"standing  draining: {shown}" in fleet.splitlines()
    assert f"gpu       {shown}, 1.0 GiB, driver {shown}" in fleet.splitlines()
    assert len(dead.splitlines()) == 1
    assert dead.endswith(f"stage_crashed: {shown}\n")
    assert f"failed in forge: {shown} [stage_crashed]" in job.splitlines()
    assert (fleet + dead + job).replace("\n", "").isprintable()
