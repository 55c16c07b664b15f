"""What becomes of a signed result, and of a lease, when the answer is not the one hoped for."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from edgeproof.client.exchange import RetryPolicy
from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.runners import Capabilities, ClaimedRun, ClaimRequest
from edgeproof.contract.statements import ForgeConfig
from edgeproof.domain.runs import Lease
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
        await self.delivery.deliver(self.result, {}, asyncio.Event())

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


def named(desk: Desk, home: RunnerHome) -> dict[str, Path]:
    """A file that the result names, in a workspace."""
    path = home.new_workspace() / "samples"
    path.write_bytes(b"samples")
    return {sha256_hex(b"samples"): path}


async def test_what_a_result_names_waits_with_it_and_is_uploaded_by_a_later_process(
    desk: Desk, home: RunnerHome
) -> None:
    files = named(desk, home)
    desk.server.absent(10**9, "upload")
    assert await desk.delivery.deliver(desk.result, files, asyncio.Event()) is None
    home.clear_work()
    assert (desk.kept(), desk.run.submissions, desk.run.failures) == (True, 0, [])
    desk.server.absent(0, "upload")
    beats_first(desk.server)
    later = Delivery(desk.session, Outbox(home.outbox), patience=0.0)
    async with asyncio.timeout(10):
        assert [one.code for one in await later.deliver_pending(asyncio.Event())] == ["not_canonical"]
    assert desk.run.uploads == set(files)
    assert not desk.kept()


def beats_first(server: SimulatedServer) -> None:
    """An upload lasts until the lease was renewed."""
    upload = server.upload

    async def slow(path: Path, digest: str, *, run_id: str, lease: Lease) -> None:
        while not server.calls.count("heartbeat"):
            await asyncio.sleep(0)
        await upload(path, digest, run_id=run_id, lease=lease)

    server.upload = slow  # type: ignore[method-assign]


async def test_what_was_uploaded_is_not_uploaded_again(desk: Desk, home: RunnerHome) -> None:
    desk.server.absent(1, "submit")
    await desk.delivery.deliver(desk.result, named(desk, home), asyncio.Event())
    assert desk.kept()
    assert [path.suffix for path in home.outbox.iterdir()] == [".json"]
    await desk.delivery.deliver_pending(asyncio.Event())
    assert desk.server.calls.count("upload") == 1
    assert not desk.kept()


async def test_a_lease_is_not_renewed_for_ever_for_what_never_gets_through(
    desk: Desk, home: RunnerHome
) -> None:
    desk.server.absent(10**9, "upload")
    await desk.delivery.deliver(desk.result, named(desk, home), asyncio.Event())
    beats_first(desk.server)
    async with asyncio.timeout(10):
        await desk.delivery.deliver_pending(asyncio.Event())
    renewed = desk.server.calls.count("heartbeat")
    for _ in range(3):
        await desk.delivery.deliver_pending(asyncio.Event())
        await asyncio.sleep(0)
    assert desk.server.calls.count("heartbeat") == renewed == 1
    desk.server.reap(desk.run)
    desk.server.absent(0, "upload")
    assert await desk.delivery.deliver_pending(asyncio.Event()) == []
    assert (desk.kept(), desk.run.failures) == (False, [])


@pytest.mark.parametrize("code", ["stale_lease", "quota_exceeded", "body_too_large"])
async def test_a_refused_upload_is_for_good(desk: Desk, home: RunnerHome, code: str) -> None:
    desk.server.refuse(1, "upload", code)
    failure = await desk.delivery.deliver(desk.result, named(desk, home), asyncio.Event())
    assert (desk.kept(), list(home.outbox.iterdir())) == (False, [])
    assert [one.code for one in desk.run.failures] == ([] if failure is None else [code])
    assert (failure is None) == (code == "stale_lease")


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
        assert (
            await LeaseKeeper(
                desk.session, desk.run.run_id, desk.result.lease, desk.claimed.heartbeat_seconds
            ).keep()
            == "cancel_requested"
        )
    assert desk.server.calls.count("heartbeat") == 3


@pytest.mark.parametrize("code", ["stale_lease", "key_not_allowed"])
async def test_a_heartbeat_that_ends_the_lease_does(desk: Desk, code: str) -> None:
    desk.server.refuse(1, "heartbeat", code)
    async with asyncio.timeout(10):
        assert (
            await LeaseKeeper(
                desk.session, desk.run.run_id, desk.result.lease, desk.claimed.heartbeat_seconds
            ).keep()
            == "lease_lost"
        )
