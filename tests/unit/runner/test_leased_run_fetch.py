"""What a run's fetch says of a control plane's answer."""

from __future__ import annotations

import asyncio

from edgeproof.contract.statements import ForgeConfig
from edgeproof.runner.agent import Agent
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.session import Session
from edgeproof.testing.simulated_server import SimulatedServer
from edgeproof.testing.simulated_work import SimulatedWork


async def test_other_bytes_than_those_named_fail_the_attempt_and_not_the_run(
    server: SimulatedServer, session: Session, home: RunnerHome, config: ForgeConfig
) -> None:
    """Somebody between answered: the next attempt has its input."""
    server.keep(b"source")
    run = server.add(config)
    server.refuse(1, "download", "artifact_digest_mismatch")
    agent = Agent(session, home, "boot", SimulatedWork(seconds=0), patience=0.0)
    async with asyncio.timeout(20):
        assert await agent.serve(asyncio.Event(), max_runs=2) == 2
    told = [(one.code, one.fault, one.retryable) for one in run.failures]
    assert told == [("artifact_digest_mismatch", "infrastructure", True)]
    assert (run.state, run.attempt) == ("COMPLETE", 2)
