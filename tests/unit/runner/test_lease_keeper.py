"""What heartbeats tell of the work under way."""

from __future__ import annotations

import asyncio

from edgeproof.client.exchange import RetryPolicy
from edgeproof.contract.jobs import Progress
from edgeproof.contract.runners import MAX_STATUS, Capabilities, ClaimRequest
from edgeproof.contract.statements import ForgeConfig
from edgeproof.domain.runs import Lease
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.lease_keeper import LeaseKeeper
from edgeproof.runner.session import Session
from edgeproof.testing.simulated_server import SimulatedRun, SimulatedServer

AT_ONCE = RetryPolicy(base_seconds=0.0, cap_seconds=0.0)


async def beats(server: SimulatedServer, run: SimulatedRun, count: int) -> None:
    """Until so many more heartbeats told of progress."""
    wanted = len(run.progress) + count
    while len(run.progress) < wanted:
        server.turned.clear()
        await server.turned.wait()


def says(message: str | None, completed: int = 0) -> Progress:
    return Progress(completed=completed, unit="pairs", message=message)


async def test_the_stages_message_is_the_status_and_is_told_when_it_changed(
    server: SimulatedServer, home: RunnerHome, config: ForgeConfig
) -> None:
    capabilities = Capabilities(device_class="test", cpu_count=1, memory_bytes=1, isolation="none")
    session = Session(server, home.signing_key(), capabilities, None, AT_ONCE)
    await session.open()
    run = server.add(config)
    claimed = await server.claim(ClaimRequest())
    assert claimed is not None
    lease = Lease(claimed.attempt, claimed.lease_token)
    keeper = LeaseKeeper(session, claimed.run_id, lease, claimed.heartbeat_seconds)
    keeping = asyncio.create_task(keeper.keep())
    async with asyncio.timeout(20):
        for told in (says("waiting for the device"), says("measuring"), says("measuring", 1), says(None, 2)):
            keeper.note(told)
            await beats(server, run, 2)
        assert run.statuses == ["waiting for the device", "measuring"]
        # Not heard: it is told again. Whether the server took it nobody knows.
        server.lose_replies(1, "heartbeat")
        keeper.note(says("x" * (MAX_STATUS + 1)))
        await beats(server, run, 3)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert set(run.statuses[2:]) == {"x" * MAX_STATUS}
    assert len(run.statuses) == 4
