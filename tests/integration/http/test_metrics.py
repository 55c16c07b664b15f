"""What operators watch: numbers that move with what happened, for admins unless opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families

from edgeproof.client import ControlPlaneClient
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.runners import ClaimRequest, FailRequest
from edgeproof.domain.runs import Lease
from edgeproof.server.audit.audit_seal import seal
from edgeproof.server.jobs.dead_letters import dead_letters
from edgeproof.server.plane.control_plane import ControlPlane, Principal, Settings
from edgeproof.server.plane.meters import Meters, watch_loop

from .conftest import CAPABILITIES

ADMIN = Principal("root", "admin")
Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def settings(url: str) -> Settings:
    """Every scrape asks anew."""
    return Settings(public_url=url, gauges_kept_seconds=0)


async def scrape(raw: httpx.AsyncClient, admin: ControlPlaneClient) -> Values:
    answer = await raw.get("/metrics", headers={"Authorization": f"Bearer {admin.token}"})
    assert answer.status_code == 200
    assert answer.headers.get_list("content-type") == [CONTENT_TYPE_LATEST]
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(values: Values, name: str, **labels: str) -> float:
    """The sum over every series that has these labels."""
    return sum(
        number for (one, given), number in values.items() if one == name and labels.items() <= set(given)
    )


@pytest.fixture
async def runner(
    server: ControlPlane, url: str, admin: ControlPlaneClient
) -> AsyncIterator[ControlPlaneClient]:
    async with ControlPlaneClient(f"{url}#{server.keys.signing.public.fingerprint}") as client:
        await client.register(SigningKey.generate(), CAPABILITIES, await admin.create_enrolment_token())
        yield client


async def test_the_numbers_follow_the_queue(
    raw: httpx.AsyncClient, admin: ControlPlaneClient, user: ControlPlaneClient, runner: ControlPlaneClient
) -> None:
    model = (await user.upload_bytes(b"a model")).digest
    await user.analyze(AnalyzeRequest(model_path=f"sha256:{model}"))
    before = await scrape(raw, admin)
    assert value(before, "edgeproof_queue_depth", stage="forge") == 2
    assert value(before, "edgeproof_leases") == 0
    assert value(before, "edgeproof_jobs", status="queued") == 1
    assert value(before, "edgeproof_runners", which="seen") == 1
    claimed = await runner.claim(ClaimRequest())
    assert claimed is not None
    held = await scrape(raw, admin)
    assert value(held, "edgeproof_queue_depth", stage="forge") == 1
    assert value(held, "edgeproof_leases", stage="forge") == 1
    assert value(held, "edgeproof_claims_total", stage="forge") == 1
    failure = FailRequest(code="disk_full", message="", fault="device", retryable=True)
    await runner.fail(claimed.run_id, Lease(claimed.attempt, claimed.lease_token), failure)
    with pytest.raises(Refused):
        await user.job("nobody-knows")
    after = await scrape(raw, admin)
    assert value(after, "edgeproof_run_failures_total", fault="device", code="disk_full") == 1
    assert value(after, "edgeproof_queue_depth", stage="forge") == 2
    route = "/api/queue/{run_id}/fail"
    assert value(after, "edgeproof_request_seconds_count", route=route, status="200") == 1
    assert value(after, "edgeproof_request_seconds_count", route="/api/jobs/{job_id}", status="404") == 1
    assert value(after, "edgeproof_database_connections", which="open") >= 1
    assert value(after, "edgeproof_dead_letters") == 0


async def test_dead_letters_and_the_unsealed_tail_are_counted(
    server: ControlPlane,
    raw: httpx.AsyncClient,
    admin: ControlPlaneClient,
    user: ControlPlaneClient,
    runner: ControlPlaneClient,
) -> None:
    await user.analyze(AnalyzeRequest(model_path=f"sha256:{(await user.upload_bytes(b'a model')).digest}"))
    await server.database.pool.execute("UPDATE run_queue SET max_attempts = 1")
    failure = FailRequest(code="disk_full", message="", fault="device", retryable=True)
    while (claimed := await runner.claim(ClaimRequest())) is not None:
        await runner.fail(claimed.run_id, Lease(claimed.attempt, claimed.lease_token), failure)
    before = await scrape(raw, admin)
    assert value(before, "edgeproof_dead_letters") == len((await dead_letters(server, ADMIN)).runs) > 0
    written = await server.database.pool.fetchval("SELECT count(*) FROM audit_log")
    assert value(before, "edgeproof_audit_unsealed") == written > 0
    assert await seal(server) == written
    assert value(await scrape(raw, admin), "edgeproof_audit_unsealed") == 0


async def test_metrics_are_for_admins(raw: httpx.AsyncClient) -> None:
    assert (await raw.get("/metrics")).json()["code"] == "forbidden"
    nobody = await raw.get("/metrics", headers={"Authorization": ""})
    assert (nobody.status_code, nobody.json()["code"]) == (401, "unauthenticated")


class TestOftenScraped:
    @pytest.fixture
    def settings(self, url: str) -> Settings:
        return Settings(public_url=url, gauges_kept_seconds=3600)

    async def test_the_database_is_not_asked_each_time(
        self,
        raw: httpx.AsyncClient,
        admin: ControlPlaneClient,
        user: ControlPlaneClient,
    ) -> None:
        assert value(await scrape(raw, admin), "edgeproof_jobs") == 0
        model = (await user.upload_bytes(b"a model")).digest
        await user.analyze(AnalyzeRequest(model_path=f"sha256:{model}"))
        assert value(await scrape(raw, admin), "edgeproof_jobs") == 0
        route = "/api/analyze"
        assert value(await scrape(raw, admin), "edgeproof_request_seconds_count", route=route) == 1


class TestOpened:
    @pytest.fixture
    def settings(self, url: str) -> Settings:
        return replace(Settings(public_url=url), metrics_open=True)

    async def test_opened_metrics_need_no_token(self, server: ControlPlane, url: str) -> None:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            answer = await client.get("/metrics")
        assert answer.status_code == 200
        assert "edgeproof_queue_depth" in answer.text


async def test_the_loops_lag_is_watched_until_the_stop() -> None:
    meters, stopping = Meters(), asyncio.Event()
    watching = asyncio.create_task(watch_loop(meters, stopping))
    async with asyncio.timeout(10):
        while not meters.registry.get_sample_value("edgeproof_event_loop_lag_seconds_count"):
            await asyncio.sleep(0.01)
        stopping.set()
        await watching
