"""Where the benchmark runs: a database of its own, a served control plane, a replica in this process."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec

from edgeproof.app.preconditions import free_port
from edgeproof.app.serve import DATABASE_VARIABLE, Ready, ServeConfig
from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.envelope import PublicKey, SigningKey
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.runners import Capabilities, EngineCapability
from edgeproof.server.artifacts.artifacts import put_artifact
from edgeproof.server.fleet.requirements import match_runner_classes
from edgeproof.server.jobs.analyze import analyze
from edgeproof.server.plane.control_plane import ControlPlane, Principal, Settings, open_control_plane
from edgeproof.server.plane.principals import authenticate, create_principal
from edgeproof.server.plane.runner_token import RunnerToken, seal_token

BUILT: Final = b"what every simulated build makes"
_ENGINE: Final = EngineCapability(name="onnxruntime", version="1", targets=("cpu",), precisions=("fp32",))
#: No backend: the measuring runs, which builds make due, wait for others.
_CAPABILITIES: Final = Capabilities(
    device_class="simulated", cpu_count=2, memory_bytes=8 << 30, isolation="namespaces", toolchains=(_ENGINE,)
)
RUNS_OF_A_JOB: Final = 2
"""Builds, with which every job here begins."""
_TOKEN_SECONDS: Final = 86_400
_ADD_RUNNER: Final = """
INSERT INTO runners (runner_id, public_key, hostname, capabilities) VALUES ($1, $2, 'bench', $3)
"""
_ADD_KEY: Final = "INSERT INTO runner_keys (public_key, runner_id, added_by) VALUES ($1, $2, 'bench')"
_BUILT: Final = """
WITH kept AS (
    INSERT INTO artifacts (digest, size, body) VALUES ($2, length($3::bytea), $3) ON CONFLICT DO NOTHING
)
INSERT INTO uploads (principal_id, digest) VALUES ($1, $2)
"""
# Copies of the oldest job, which itself is kept out of the queue, with its runs.
_COPY: Final = """
WITH model AS (SELECT * FROM jobs ORDER BY seq LIMIT 1), job AS (
    INSERT INTO jobs (job_id, owner_id, workflow, status, input_summary, policy_digest)
    SELECT 'job_' || substr(md5('job' || n), 1, 20), owner_id, workflow, status, input_summary, policy_digest
    FROM model, generate_series($1::integer, $2::integer) n
    RETURNING job_id
), granted AS (
    INSERT INTO job_artifacts (job_id, digest, role)
    SELECT job.job_id, a.digest, a.role
    FROM job, job_artifacts a WHERE a.job_id = (SELECT job_id FROM model)
), run AS (
    INSERT INTO runs (run_id, job_id, stage, role, class_id, config, limits)
    SELECT 'run_' || substr(md5(job.job_id || r.role), 1, 20), job.job_id, r.stage, r.role, r.class_id,
        r.config, r.limits
    FROM job, runs r WHERE r.job_id = (SELECT job_id FROM model)
    RETURNING run_id, class_id
)
INSERT INTO run_queue (run_id, class_id) SELECT run_id, class_id FROM run
"""


@dataclass(frozen=True, slots=True)
class SimulatedRunner:
    """A registered runner's key and token."""

    runner_id: str
    key: SigningKey
    token: str


@dataclass(frozen=True, slots=True)
class Ground:
    """``plane`` is a replica of the served control plane, in this process, on the same database.

    ``trusted`` is the control plane's key as a runner has it: it knows no envelope beforehand.
    """

    plane: ControlPlane
    dsn: str
    host: str
    port: int
    user: Principal
    trusted: PublicKey

    async def enlist(self, count: int) -> list[SimulatedRunner]:
        """Runners as registration leaves them, each with the artifact that it will say it built."""
        now = await self.plane.database.now()
        runners = []
        async with self.plane.database.transaction() as connection:
            for _ in range(count):
                key = SigningKey.generate()
                runner_id = f"runner-{key.public.keyid[:16]}"
                await connection.execute(_ADD_RUNNER, runner_id, key.public.base64, _CAPABILITIES)
                await connection.execute(_ADD_KEY, key.public.base64, runner_id)
                await match_runner_classes(connection, runner_id, _CAPABILITIES)
                await connection.execute(_BUILT, runner_id, sha256_hex(BUILT), BUILT)
                token = RunnerToken(
                    runner_id=runner_id,
                    public_key=key.public.base64,
                    expires_at=int(now.timestamp()) + _TOKEN_SECONDS,
                )
                runners.append(SimulatedRunner(runner_id, key, seal_token(self.plane.keys.token_hmac, token)))
        return runners

    async def queue_jobs(self, count: int) -> None:
        """``count`` analyze jobs by the real use case; each begins with ``RUNS_OF_A_JOB``."""

        async def model() -> AsyncIterator[bytes]:
            yield b"a model"

        digest = sha256_hex(b"a model")
        await put_artifact(self.plane, self.user, digest, model())
        request = AnalyzeRequest(model_path=f"sha256:{digest}", options={"preset": "source"})
        places = asyncio.Semaphore(8)

        async def one() -> None:
            async with places:
                await analyze(self.plane, self.user, request)

        await asyncio.gather(*(one() for _ in range(count)))

    async def copy_jobs(self, first: int, last: int) -> None:
        """Jobs by number, ``last`` included, each a copy of the oldest job: much faster than queuing them."""
        await self.plane.database.pool.execute(_COPY, first, last, timeout=600)


@asynccontextmanager
async def new_database(cluster: str) -> AsyncIterator[str]:
    """The address of an empty database, dropped on leaving."""
    name = f"bench_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(cluster)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(cluster)._replace(path=f"/{name}"))
        finally:
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    finally:
        await connection.close()


@asynccontextmanager
async def ground(cluster: str, folder: Path) -> AsyncIterator[Ground]:
    """A control plane of its own, served by a process that dies with this one."""
    async with new_database(cluster) as dsn:
        port = free_port("127.0.0.1", 0)
        url = f"http://127.0.0.1:{port}"
        data_dir = folder / secrets.token_hex(4)
        data_dir.mkdir()
        settings = Settings(public_url=url, lease_seconds=_TOKEN_SECONDS)
        plane = await open_control_plane(dsn, data_dir / "artifacts", settings)
        try:
            config = ServeConfig(
                data_dir=str(data_dir),
                host="127.0.0.1",
                port=port,
                public_url=url,
                parent_pid=os.getpid(),
                lease_seconds=_TOKEN_SECONDS,
            )
            async with _served(config, dsn):
                user = await authenticate(plane, await create_principal(plane, "user", "bench"))
                trusted = PublicKey(plane.keys.signing.public.raw)
                yield Ground(plane, dsn, "127.0.0.1", port, user, trusted)
        finally:
            await plane.close()


@asynccontextmanager
async def _served(config: ServeConfig, dsn: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edgeproof.app.serve", msgspec.json.encode(config).decode()),
        env={**os.environ, DATABASE_VARIABLE: dsn},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        if process.stdout is None:
            raise OSError("the control plane has no standard output")
        msgspec.json.decode(await process.stdout.readline(), type=Ready)
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not below ``share`` of ``values``."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
