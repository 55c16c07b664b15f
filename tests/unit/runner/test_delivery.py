"""What becomes of a signed result, and of a lease, when the answer is not the one hoped for."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from edgeproof.client.exchange import RetryPolicy
from edgeproof.contract.runners import Capabilities, ClaimedRun, ClaimRequest
from edgeproof.contract.statements import ForgeConfig
from edgeproof.runner.delivery import FINAL, Delivery
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.lease_keeper import LeaseKeeper
from edgeproof.runner.outbox import Outbox, PendingResult
from edgeproof.runner.session import Session
from edgeproof.testing.simulated_server import SimulatedRun, SimulatedServer

AT_ONCE = RetryPolicy(base_seconds=0.0, cap_seconds=0.0)


class Desk:
    """A runner that holds a lease and a result, and what it delivers with. ``patience`` is none."""

    def __init__(
        self,
        server: SimulatedServer,
        home: RunnerHome,
        run: SimulatedRun,
        claimed: ClaimedRun,
        session: Session,
    ) -> None:
        self.server, self.run, self.claimed, self.session = server, run, claimed, session
        self.outbox = Outbox(home.outbox)
        self.delivery = Delivery(session, self.outbox, patience=0.0)
        self.result = PendingResult(
            run_id=run.run_id, attempt=claimed.attempt, lease_token=claimed.lease_token, envelope="{}"
        )

    async def deliver(self) -> None:
        await self.delivery.deliver(self.result, asyncio.Event())

    def kept(self) -> bool:
        return self.outbox.holds(self.run.run_id)


@pytest.fixture
async def desk(server: SimulatedServer, home: RunnerHome, config: ForgeConfig) -> Desk:
    capabilities = Capabilities(device_class="test", cpu_count=1, memory_bytes=1, isolation="none")
    session = Session(server, home.signing_key(), capabilities, None, AT_ONCE)
    await session.open()
    run = server.add(config)
    claimed = await session.call(partial(server.claim, ClaimRequest(wait_seconds=0)))
    assert claimed is not None
    return Desk(server, home, run, claimed, session)


@pytest.mark.parametrize("code", ["forbidden", "invalid_request", "not_found", "key_not_allowed", "conflict"])
async def test_a_refusal_that_may_pass_keeps_the_result(desk: Desk, code: str) -> None:
    desk.server.refuse(1, "submit", code)
    await desk.deliver()
    assert desk.kept()
    assert (desk.run.state, desk.run.failures) == ("CLAIMED", [])


@pytest.mark.parametrize("code", sorted(FINAL))
async def test_a_refusal_for_good_drops_it(desk: Desk, code: str) -> None:
    desk.server.refuse(1, "submit", code)
    await desk.deliver()
    assert not desk.kept()
    assert [one.code for one in desk.run.failures] == ([] if code == "stale_lease" else [code])


async def test_an_error_page_of_a_proxy_keeps_it(desk: Desk) -> None:
    desk.server.foreign(10**9, "submit")
    await desk.deliver()
    assert desk.kept()
    assert (desk.run.state, desk.run.failures) == ("CLAIMED", [])


@pytest.mark.parametrize("code", ["challenge_invalid", "server_key_mismatch", "key_not_allowed"])
async def test_a_token_that_is_not_renewed_keeps_it(desk: Desk, code: str) -> None:
    desk.server.expire_token()
    desk.server.refuse(10**9, "register", code)
    await desk.deliver()
    assert desk.kept()
    assert desk.run.submissions == 0


@pytest.fixture
def full(desk: Desk, home: RunnerHome) -> Desk:
    """Its outbox cannot take anything."""
    home.outbox.rmdir()
    return desk


async def test_what_is_neither_kept_nor_delivered_is_lost_and_its_run_handed_back(
    full: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    full.server.refuse(1, "submit", "forbidden")
    await full.deliver()
    assert [(one.code, one.fault, one.retryable) for one in full.run.failures] == [
        ("disk_full", "device", True)
    ]
    assert not [line for line in caplog.messages if "result kept" in line]
    (line,) = [line for line in caplog.messages if "result lost" in line]
    assert "neither kept nor delivered (forbidden" in line


async def test_that_a_result_is_lost_is_said_also_when_nobody_hears_it(
    full: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    full.server.absent(10**9, "submit")
    full.server.absent(1, "fail")
    await full.deliver()
    assert full.run.failures == []
    assert [line for line in caplog.messages if "result lost" in line]
    assert [line for line in caplog.messages if "failure not delivered" in line]


async def test_a_heartbeat_that_is_refused_otherwise_does_not_lose_the_lease(desk: Desk) -> None:
    desk.server.refuse(2, "heartbeat", "forbidden")
    desk.server.cancel(desk.run)
    async with asyncio.timeout(10):
        assert await LeaseKeeper(desk.session, desk.claimed).keep() == "cancel_requested"
    assert desk.server.calls.count("heartbeat") == 3


@pytest.mark.parametrize("code", ["stale_lease", "key_not_allowed"])
async def test_a_heartbeat_that_ends_the_lease_does(desk: Desk, code: str) -> None:
    desk.server.refuse(1, "heartbeat", code)
    async with asyncio.timeout(10):
        assert await LeaseKeeper(desk.session, desk.claimed).keep() == "lease_lost"
