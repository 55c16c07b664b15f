"""``FaultySystem``: PostgreSQL, replicas of the control plane and runners, each a process that may be killed.

The control planes share the database and the artifacts' folder and know nothing of each other. What ends is
started again, as a supervisor would; what it was started with never changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from edgeproof.app.child_process import stop_process
from edgeproof.app.serve import DATABASE_VARIABLE, Ready, ServeConfig
from edgeproof.cli.connection import Credentials, read_credentials
from edgeproof.client.exchange import RetryPolicy
from edgeproof.client.transport import ControlPlaneClient
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.state import read_state
from edgeproof.server.postgres import EmbeddedPostgres
from edgeproof.testing.simulated_runner import RunnerProcess
from edgeproof.testing.weather import Chances, Weather

Victim = Literal["runner", "server", "postgres"]
_START_SECONDS: Final = 60.0
_PATIENT: Final = RetryPolicy(attempts=400, base_seconds=0.05, cap_seconds=0.5)


class Kept:
    """A process that is started again when it ends. ``launch`` returns once it is up."""

    def __init__(self, name: str, launch: Callable[[], Coroutine[Any, Any, asyncio.subprocess.Process]]):
        self.name = name
        self.process: asyncio.subprocess.Process | None = None
        self.starts = 0
        self._launch = launch
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.process = await self._launch()
        self.starts += 1
        self._keeping = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            assert self.process is not None
            await self.process.wait()
            while True:
                try:
                    self.process = await self._launch()
                    break
                except (OSError, RuntimeError):
                    # E.g. a control plane without its database: tried again until it is there.
                    await asyncio.sleep(0.1)
            self.starts += 1

    def kill(self) -> bool:
        """``kill -9``; whether there was one to kill."""
        if self.process is None or self.process.returncode is not None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        return True

    async def lose(self) -> None:
        """``kill -9``, and nothing in its place."""
        await self._let_go()
        self.kill()
        if self.process is not None:
            await self.process.wait()

    async def stop(self) -> None:
        await self._let_go()
        if self.process is not None:
            await stop_process(self.process)

    async def _let_go(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)


class FaultySystem:
    """In ``folder``; ``servers`` replicas. Use ``running``."""

    def __init__(self, folder: Path, *, servers: int, lease_seconds: float, seed: int) -> None:
        self.folder = folder
        self.servers: list[Kept] = []
        self.runners: list[Kept] = []
        self.urls = [f"http://127.0.0.1:{_free_port()}" for _ in range(servers)]
        self.dsn = ""
        self.address = ""
        self.log = folder / "system.log"
        self.journal = folder / "journal"
        self._lease_seconds = lease_seconds
        self._seed = seed
        self._postgres = EmbeddedPostgres(folder / "postgres")
        self._keeping: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FaultySystem]:
        self.journal.touch()
        self.dsn = (await self._postgres.start()).dsn()
        try:
            self._keeping = asyncio.create_task(self._keep_postgres())
            for number in range(len(self.urls)):
                server = Kept(f"server {number}", self._serving(number))
                await server.start()
                self.servers.append(server)
            yield self
        finally:
            for one in (*self.runners, *self.servers):
                await one.stop()
            if self._keeping is not None:
                self._keeping.cancel()
                await asyncio.gather(self._keeping, return_exceptions=True)
            await self._postgres.stop()

    @property
    def credentials(self) -> Credentials:
        found = read_credentials(self.folder / "server-0")
        assert found is not None
        return found

    def client(
        self, token: str, *, attempts: int | None = None, chances: Chances | None = None
    ) -> ControlPlaneClient:
        """Patient, and asks the replicas in turn. ``attempts`` bounds its patience."""
        retry = _PATIENT if attempts is None else RetryPolicy(attempts=attempts, base_seconds=0.05)
        weather = Weather(self.urls, chances or Chances(), random.Random(self._seed))
        return ControlPlaneClient(self.address, token=token, transport=weather, retry=retry)

    async def add_runner(
        self, chances: Chances | None = None, *, simulated: bool = True, step_seconds: float = 0.1
    ) -> Kept:
        number = len(self.runners)
        async with self.client(self.credentials.admin_token) as admin:
            token = await admin.create_enrolment_token()
        config = RunnerProcess(
            address=self.address,
            servers=tuple(self.urls),
            home=str(self.folder / f"runner-{number}"),
            token=token,
            journal=str(self.journal),
            parent_pid=os.getpid(),
            seed=self._seed + number,
            chances=chances or Chances(),
            step_seconds=step_seconds,
            simulated=simulated,
        )
        command = [sys.executable, "-m", "edgeproof.testing.simulated_runner"]
        encoded = msgspec.json.encode(config).decode()
        runner = Kept(f"runner {number}", lambda: self._spawn([*command, encoded]))
        await runner.start()
        self.runners.append(runner)
        return runner

    def kill(self, victim: Victim, chance: random.Random) -> bool:
        """One process of that kind, every other time a runner amid its work; whether there was one."""
        if victim == "postgres":
            pid = self._postgres.pid
            if pid is None:
                return False
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            return True
        if victim == "server":
            return chance.choice(self.servers).kill()
        busy = [one for one in self.runners if self._is_busy(one)] if chance.random() < 0.5 else []
        return chance.choice(busy or self.runners).kill()

    def _is_busy(self, runner: Kept) -> bool:
        state = read_state(RunnerHome(self.folder / runner.name.replace(" ", "-")))
        return (
            state is not None
            and state.run is not None
            and runner.process is not None
            and state.pid == runner.process.pid
        )

    def accepted(self) -> list[tuple[str, int, str]]:
        """What runners were told is accepted: run id, attempt, digest of the evidence."""
        lines = [line.split() for line in self.journal.read_text().splitlines()]
        return [(run_id, int(attempt), digest) for run_id, attempt, digest in lines]

    async def _keep_postgres(self) -> None:
        while True:
            await self._postgres.wait()
            dsn = (await self._postgres.start()).dsn()
            if dsn != self.dsn:
                self.dsn = dsn
                for server in self.servers:
                    server.kill()

    def _serving(self, number: int) -> Callable[[], Coroutine[Any, Any, asyncio.subprocess.Process]]:
        data_dir = self.folder / f"server-{number}"
        data_dir.mkdir()
        # What replicas share is the database and the artifacts.
        (self.folder / "artifacts").mkdir(exist_ok=True)
        (data_dir / "artifacts").symlink_to(self.folder / "artifacts")

        async def launch() -> asyncio.subprocess.Process:
            config = ServeConfig(
                data_dir=str(data_dir),
                host="127.0.0.1",
                port=int(self.urls[number].rpartition(":")[2]),
                public_url=self.urls[0],
                parent_pid=os.getpid(),
                lease_seconds=self._lease_seconds,
                heartbeat_seconds=self._lease_seconds / 4,
            )
            command = [sys.executable, "-m", "edgeproof.app.serve", msgspec.json.encode(config).decode()]
            process = await self._spawn(
                command, stdout=asyncio.subprocess.PIPE, **{DATABASE_VARIABLE: self.dsn}
            )
            assert process.stdout is not None
            async with asyncio.timeout(_START_SECONDS):
                line = await process.stdout.readline()
            if not line:
                await process.wait()
                raise RuntimeError(f"server {number} did not start")
            ready = msgspec.json.decode(line, type=Ready)
            self.address = f"{ready.url}#{ready.fingerprint}"
            return process

        return launch

    async def _spawn(
        self, command: Sequence[str], stdout: int | None = None, **more: str
    ) -> asyncio.subprocess.Process:
        own = {name: value for name, value in os.environ.items() if not name.startswith("EDGEPROOF_")}
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log if stdout is None else stdout,
                stderr=log,
                env={**own, **more},
                start_new_session=True,
            )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
