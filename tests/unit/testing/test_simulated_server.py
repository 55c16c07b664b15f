"""The shipped control plane in memory keeps the rules of the real one's queue."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path

import pytest

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import Refused, Unavailable
from edgeproof.contract.runners import (
    MAX_HOLDING,
    Capabilities,
    ClaimedRun,
    ClaimRequest,
    FailRequest,
    HeartbeatRequest,
)
from edgeproof.contract.statements import ForgeConfig
from edgeproof.domain.runs import MAX_ATTEMPTS, Lease
from edgeproof.runner.port import ControlPlane
from edgeproof.testing.simulated_server import SimulatedRun, SimulatedServer

RETRY = FailRequest(code="stage_crashed", message="", fault="infrastructure", retryable=True)
CAPABILITIES = Capabilities(device_class="test", cpu_count=1, memory_bytes=1, isolation="none")


@pytest.fixture
def server() -> SimulatedServer:
    return SimulatedServer()


@pytest.fixture
def run(server: SimulatedServer) -> SimulatedRun:
    return server.add(
        ForgeConfig(
            role="candidate",
            backend="onnxruntime",
            target="cpu",
            preset="fp32",
            precision="fp32",
            source=server.keep(b"source"),
            source_name="model.onnx",
            calibration=None,
            input_shapes={},
            batch=None,
            height=None,
            width=None,
        )
    )


async def register(server: SimulatedServer) -> ControlPlane:
    await server.register(SigningKey.generate(), CAPABILITIES, None)
    return server


async def claim(server: SimulatedServer) -> tuple[ClaimedRun, Lease]:
    claimed = await (await register(server)).claim(ClaimRequest())
    assert claimed is not None
    return claimed, Lease(claimed.attempt, claimed.lease_token)


async def refusal(asked: Awaitable[object]) -> str:
    with pytest.raises(Refused) as caught:
        await asked
    return caught.value.code


async def test_nobody_is_served_before_registration(server: SimulatedServer) -> None:
    assert await refusal(server.claim(ClaimRequest())) == "unauthenticated"


async def test_a_run_has_one_lease(server: SimulatedServer, run: SimulatedRun) -> None:
    await claim(server)
    assert await server.claim(ClaimRequest()) is None


@pytest.mark.parametrize("stale", ["attempt", "token", "reaped"])
async def test_the_fence(server: SimulatedServer, run: SimulatedRun, stale: str, tmp_path: Path) -> None:
    _, lease = await claim(server)
    if stale == "reaped":
        server.reap(run)
    wrong = {
        "attempt": Lease(lease.attempt + 1, lease.token),
        "token": Lease(lease.attempt, "0" * 64),
        "reaped": lease,
    }[stale]
    name, path = run.run_id, tmp_path / "file"
    path.write_bytes(b"bytes")
    for asked in (
        server.heartbeat(name, wrong, HeartbeatRequest()),
        server.submit(name, wrong, b"{}"),
        server.fail(name, wrong, RETRY),
        server.upload(path, sha256_hex(b"bytes"), run_id=name, lease=wrong),
        server.download(run.config.source, path, run_id=name, lease=wrong),
    ):
        assert await refusal(asked) == "stale_lease"


async def test_a_failure_told_twice_is_told_once(server: SimulatedServer, run: SimulatedRun) -> None:
    _, lease = await claim(server)
    server.lose_replies(1, "fail")
    with pytest.raises(Unavailable):
        await server.fail(run.run_id, lease, RETRY)
    assert (await server.fail(run.run_id, lease, RETRY)).state == "PENDING"
    assert len(run.failures) == 1
    assert await refusal(server.submit(run.run_id, lease, b"{}")) == "different_outcome"


async def test_attempts_run_out(server: SimulatedServer, run: SimulatedRun) -> None:
    for _ in range(MAX_ATTEMPTS):
        _, lease = await claim(server)
        await server.fail(run.run_id, lease, RETRY)
    assert run.state == "FAILED"


async def test_an_expired_lease_takes_no_heartbeat(server: SimulatedServer, run: SimulatedRun) -> None:
    _, lease = await claim(server)
    server.expire(run)
    assert await refusal(server.heartbeat(run.run_id, lease, HeartbeatRequest())) == "stale_lease"
    assert await refusal(server.submit(run.run_id, lease, b"{}")) != "stale_lease"


async def test_artifacts_go_by_what_the_run_names(
    server: SimulatedServer, run: SimulatedRun, tmp_path: Path
) -> None:
    _, lease = await claim(server)
    other = server.keep(b"other")
    path = tmp_path / "file"
    asked = server.download(other, path, run_id=run.run_id, lease=lease)
    assert await refusal(asked) == "not_found"
    await server.download(run.config.source, path, run_id=run.run_id, lease=lease)
    assert path.read_bytes() == b"source"
    asked_upload = server.upload(path, sha256_hex(b"lie"), run_id=run.run_id, lease=lease)
    assert await refusal(asked_upload) == "artifact_digest_mismatch"


async def test_a_claim_that_says_that_its_runner_is_unfit_gets_no_work(
    server: SimulatedServer, run: SimulatedRun
) -> None:
    await register(server)
    assert await server.claim(ClaimRequest(unfit="no disk")) is None
    assert await server.claim_or_standing(ClaimRequest()) == "quarantined"
    server.release()
    assert (await claim(server))[0].run_id == run.run_id


async def test_a_claim_ends_what_it_does_not_name_and_names_no_more_than_the_wire_takes(
    server: SimulatedServer, run: SimulatedRun
) -> None:
    await claim(server)
    names = tuple(f"run-{number}" for number in range(1, MAX_HOLDING + 2))
    assert await refusal(server.claim(ClaimRequest(holding=names))) == "invalid_request"
    assert await server.claim(ClaimRequest(holding=names[:-1])) is None
    again = await server.claim(ClaimRequest(holding=()))
    assert again is not None
    assert (again.run_id, again.attempt) == (run.run_id, 2)


async def test_a_claim_that_comes_late_ends_nothing_and_gets_nothing(
    server: SimulatedServer, run: SimulatedRun
) -> None:
    await register(server)
    assert await server.claim(ClaimRequest(holding=(), number=7)) is not None
    for late in (6, 7):
        assert await server.claim(ClaimRequest(holding=(), number=late, wait_seconds=1)) is None
    assert (run.state, run.attempt) == ("CLAIMED", 1)
    again = await server.claim(ClaimRequest(holding=(), number=8))
    assert (again is not None, run.attempt) == (True, 2)


async def test_what_a_test_has_refused_is_refused_so_often(
    server: SimulatedServer, run: SimulatedRun
) -> None:
    _, lease = await claim(server)
    server.refuse(1, "fail", "stale_lease")
    assert await refusal(server.fail(run.run_id, lease, RETRY)) == "stale_lease"
    assert (await server.fail(run.run_id, lease, RETRY)).state == "PENDING"
