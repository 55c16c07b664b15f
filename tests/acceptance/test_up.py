"""``edgeproof up``: how it starts, refuses to start, and stops in order."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from edgeproof.client import ControlPlaneClient
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import EdgeproofError
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.runners import ClaimedRun, ClaimRequest
from edgeproof.server.postgres import EmbeddedPostgres

from .running_system import (
    EDGEPROOF,
    STOP_SECONDS,
    Up,
    absent_runner,
    asked_of,
    capable,
    demand_gone,
    descendants,
    edgeproof,
    environment,
    live,
    naming,
    printed,
    until,
    up,
)
from .tiny_models import TinyModels

pytestmark = pytest.mark.slow

SECRET = "a-token-that-no-child-may-see"


@pytest.fixture(scope="module")
def system(
    copy_of_initialised: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Up]:
    """One whole system, started with a token in its environment."""
    with up(copy_of_initialised(tmp_path_factory.mktemp("system")), EDGEPROOF_TOKEN=SECRET) as started:
        yield started


def refusal(*words: str, **more: str) -> tuple[str, str]:
    """Code and detail with which ``edgeproof up`` does not start."""
    result = edgeproof("up", *words, "--json", **more)
    assert result.returncode == 1, result
    problem = printed(result)
    return problem["code"], problem["detail"]


def test_it_is_ready_soon_on_an_initialised_folder(system: Up, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\nup was ready after {system.ready_seconds:.2f} s (goal: under 3 s)")  # noqa: T201
    assert httpx.get(f"{system.ready.url}/health", trust_env=False).json()["status"] == "ok"


def test_it_cannot_be_started_twice_on_one_folder(system: Up) -> None:
    code, detail = refusal("--data-dir", str(system.data_dir), "--port", "0")
    assert code == "already_running"
    assert str(system.process.pid) in detail
    assert httpx.get(f"{system.ready.url}/health", trust_env=False).is_success


def test_a_held_port_is_refused_with_its_holder(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        code, detail = refusal("--data-dir", str(tmp_path / "data"), "--port", str(port))
    assert code == "port_in_use"
    assert f"process {os.getpid()}" in detail


def test_an_address_of_another_machine_is_not_called_a_held_port(tmp_path: Path) -> None:
    # 192.0.2.0/24 is for documentation: no machine has it.
    code, _ = refusal("--data-dir", str(tmp_path / "data"), "--host", "192.0.2.1", "--behind-tls-proxy")
    assert code == "invalid_request"


def test_off_loopback_it_demands_tls_and_an_address_to_dial(tmp_path: Path) -> None:
    anywhere = ("--data-dir", str(tmp_path / "data"), "--host", "0.0.0.0", "--port", "0")
    assert refusal(*anywhere)[0] == "insecure_bind"
    assert refusal(*anywhere, "--behind-tls-proxy")[0] == "invalid_request"


def test_a_folder_that_cannot_be_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refusal("--data-dir", str(tmp_path / "file" / "data"))[0] == "invalid_request"


def test_no_child_sees_the_token_and_only_the_server_the_database(system: Up) -> None:
    system.child("runner")
    children = descendants(system.process.pid)
    seen = asked_of(children, psutil.Process.environ)
    assert len(seen) >= 3
    assert not [pid for pid, variables in seen.items() if SECRET in str(variables)]
    with_database = {pid for pid, variables in seen.items() if "EDGEPROOF_DATABASE_URL" in variables}
    assert with_database == {system.child("server").pid}


def test_what_it_keeps_is_private(system: Up) -> None:
    assert (system.data_dir.stat().st_mode & 0o077) == 0
    for name in ("credentials.json", "enrolment-token"):
        assert (system.data_dir / name).stat().st_mode & 0o777 == 0o600


def test_without_a_runner_there_is_no_token_for_one(data_dir: Path) -> None:
    left = data_dir / "enrolment-token"
    left.write_text("of an earlier start")
    with up(data_dir, "--no-runner") as system:
        assert not left.exists()
        told = edgeproof("runner", "tokens", "list", "--json", "--data-dir", str(system.data_dir))
        assert json.loads(told.stdout)["tokens"] == []


def test_an_owners_own_database_is_used_and_left_alone(tmp_path: Path) -> None:
    async def with_own_database() -> None:
        async with EmbeddedPostgres(tmp_path / "owners") as address:
            with up(tmp_path / "data", EDGEPROOF_DATABASE_URL=address.dsn()) as system:
                runners = until(lambda: _runners(system), "the local runner has registered")
                assert len(runners) == 1
                names = asked_of(descendants(system.process.pid), psutil.Process.name)
                assert "postgres" not in names.values()
                assert "EDGEPROOF_DATABASE_URL" not in system.child("runner").environ()
                assert not (system.data_dir / "postgres").exists()
                assert system.stop() == 0
            # Started again on it: the same control plane, the same users.
            with up(tmp_path / "data", EDGEPROOF_DATABASE_URL=address.dsn()) as again:
                assert again.ready.fingerprint == system.ready.fingerprint
                assert _runners(again) == runners

    asyncio.run(with_own_database())


def test_an_interrupt_stops_it_with_a_stream_and_a_long_poll_open(data_dir: Path, models: TinyModels) -> None:
    with up(data_dir) as system:
        asyncio.run(_interrupt_under_load(system, models))
        assert system.process.returncode == 0


async def _interrupt_under_load(system: Up, models: TinyModels) -> None:
    credentials = system.credentials
    async with (
        ControlPlaneClient(system.address, token=credentials.user_token) as user,
        ControlPlaneClient(system.address, token=credentials.admin_token) as admin,
        ControlPlaneClient(system.address) as device,
        httpx.AsyncClient(base_url=system.ready.url, trust_env=False, timeout=60) as raw,
    ):
        absent = await absent_runner(system)
        key = SigningKey.generate()
        await device.register(key, capable(), await admin.create_enrolment_token())
        model = await user.publish(models.quick)
        # A job for a device that never comes: it stays queued, and its stream open.
        job = await user.analyze(
            AnalyzeRequest(
                model_path=f"sha256:{model.digest}",
                options={"runner": absent, "preset": "source"},
            )
        )
        headers = {"Authorization": f"Bearer {credentials.user_token}"}
        async with raw.stream("GET", f"/api/jobs/{job.job_id}/events", headers=headers) as stream:
            lines = stream.aiter_lines()
            assert await anext(lines)
            polling = asyncio.create_task(_claim(device))
            await _wait_for_work(raw, credentials.admin_token, 2)
            assert not polling.done()
            # In a thread: this loop must go on reading meanwhile.
            assert await asyncio.to_thread(system.stop) == 0
            rest = [line async for line in lines]
        assert "event: end" not in rest
        assert await polling is None


async def _claim(device: ControlPlaneClient) -> ClaimedRun | None:
    try:
        return await device.claim(ClaimRequest(wait_seconds=30))
    except EdgeproofError as error:
        assert error.code in ("server_unreachable", "unavailable")
        return None


async def _wait_for_work(raw: httpx.AsyncClient, admin_token: str, claims: int) -> None:
    """Returns once so many claims wait: the system's own runner and those of the test."""
    async with asyncio.timeout(30):
        while True:
            told = await raw.get("/metrics", headers={"Authorization": f"Bearer {admin_token}"})
            found = re.search(r"^edgeproof_claims_waiting (\S+)$", told.text, re.MULTILINE)
            assert found, told.text
            if float(found[1]) >= claims:
                return


def _runners(system: Up) -> list[str]:
    result = edgeproof("fleet", "list", "--json", "--data-dir", str(system.data_dir))
    assert result.returncode == 0, result.stderr
    return [one["runner_id"] for one in json.loads(result.stdout)["runners"]]


def test_it_stops_in_order_while_it_still_starts(data_dir: Path) -> None:
    command = [*EDGEPROOF, "up", "--data-dir", str(data_dir), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment()) as process:
        started = until(lambda: descendants(process.pid), "PostgreSQL is being started")
        process.terminate()
        assert process.wait(STOP_SECONDS) == 0
    demand_gone(started)
    assert live(naming(data_dir)) == []
