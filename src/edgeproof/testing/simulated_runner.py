"""``python -m edgeproof.testing.simulated_runner '<json>'``: the real agent in a process of its own.

Session, leases, outbox, cache and retries are the product's; the work is simulated unless asked otherwise,
and the calls go through ``Weather``. What the control plane accepted is noted in a journal, one run a line:
the runners' own word on whether anything was done twice.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import sys
from pathlib import Path

import msgspec

from edgeproof.app.child_process import die_with_parent
from edgeproof.client.exchange import RetryPolicy
from edgeproof.client.transport import ControlPlaneClient
from edgeproof.contract.base import Wire
from edgeproof.contract.runners import Capabilities, EngineCapability, SubmitResponse
from edgeproof.domain.runs import Lease
from edgeproof.runner.agent import Agent
from edgeproof.runner.engines import boot_id, detect_capabilities
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.isolation import detect
from edgeproof.runner.session import Session
from edgeproof.runner.work import do_work
from edgeproof.testing.simulated_work import SimulatedWork
from edgeproof.testing.weather import Chances, Weather

_ENGINE = EngineCapability(name="onnxruntime", version="simulated", targets=("cpu",), precisions=("fp32",))


class RunnerProcess(Wire, frozen=True, kw_only=True):
    """``address`` is ``URL#sha256:<key>``, ``servers`` the replicas' own URLs."""

    address: str
    servers: tuple[str, ...]
    home: str
    token: str
    journal: str
    parent_pid: int
    seed: int
    chances: Chances = Chances()
    simulated: bool = True
    step_seconds: float = 0.1
    longest_delay: float = 0.5


class _Journalled(ControlPlaneClient):
    """Notes each accepted submission, run and attempt, in one write."""

    journal: Path

    async def submit(self, run_id: str, lease: Lease, envelope: bytes) -> SubmitResponse:
        answer = await super().submit(run_id, lease, envelope)
        with self.journal.open("a") as file:
            file.write(f"{run_id} {lease.attempt} {answer.evidence_digest}\n")
        return answer


async def _run(config: RunnerProcess) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    home = RunnerHome(Path(config.home))
    weather = Weather(config.servers, config.chances, random.Random(config.seed))
    # As patient as the product's, only quicker: a test has no half minute for each outage.
    quick = RetryPolicy(base_seconds=0.1, cap_seconds=config.longest_delay)
    async with _Journalled(config.address, transport=weather, retry=quick) as client:
        client.journal = Path(config.journal)
        session = Session(client, home.signing_key(), await _capabilities(config), config.token, quick)
        work = SimulatedWork(seconds=config.step_seconds) if config.simulated else do_work
        await Agent(session, home, boot_id(), work).serve(stop)


async def _capabilities(config: RunnerProcess) -> Capabilities:
    if not config.simulated:
        return detect_capabilities(await detect())
    return Capabilities(
        device_class="linux-simulated",
        cpu_count=1,
        memory_bytes=8 << 30,
        isolation="namespaces",
        backends=(_ENGINE,),
        toolchains=(_ENGINE,),
    )


def main() -> None:
    config = msgspec.json.decode(sys.argv[1], type=RunnerProcess)
    die_with_parent(config.parent_pid)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_run(config))


if __name__ == "__main__":
    main()
