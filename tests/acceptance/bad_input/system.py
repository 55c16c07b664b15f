"""A real system as one owns it: ``edgeproof up`` as a process, spoken to over HTTP only.

What is looked at from outside HTTP: its folders, for what was left half-written, and its processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import psutil

from edgeproof.app.serve import Ready
from edgeproof.cli.connection import Credentials, read_credentials
from edgeproof.client import ControlPlaneClient
from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.jobs import JobView
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.testing.small_disk import with_small_disk

EDGEPROOF = (sys.executable, "-m", "edgeproof")
START_SECONDS = 60.0
JOB_SECONDS = 90.0


def environment(**more: str) -> dict[str, str]:
    """Ours without anything that would point a command at another control plane."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("EDGEPROOF_")}
    return {**own, **more}


def eventually(holds: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@dataclass
class System:
    """A running ``edgeproof up``. ``log`` is its standard error."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    ready: Ready
    credentials: Credentials
    log: Path

    @property
    def address(self) -> str:
        return f"{self.ready.url}#{self.ready.fingerprint}"

    def client(self, token: str | None = None) -> ControlPlaneClient:
        return ControlPlaneClient(self.address, token=token or self.credentials.user_token)

    def admin(self) -> ControlPlaneClient:
        return self.client(self.credentials.admin_token)

    def children(self) -> dict[str, int]:
        """Role to process id of the control plane and the runner."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                words = child.cmdline()
                if "edgeproof.app.serve" in words:
                    found["server"] = child.pid
                elif "runner" in words:
                    found["runner"] = child.pid
        return found

    def leftovers(self) -> list[Path]:
        """Half-received artifacts, stages' workspaces, undelivered results."""
        folders = [self.data_dir / "artifacts" / "incoming"]
        folders += [self.data_dir / "runner" / name for name in ("work", "outbox")]
        found = [path for folder in folders if folder.exists() for path in folder.iterdir()]
        inputs = self.data_dir / "runner" / "inputs"
        return found + ([path for path in inputs.iterdir() if path.suffix] if inputs.exists() else [])

    async def other_user(self) -> str:
        """The token of a second user; there is no route that makes one."""
        from edgeproof.server.postgres.record import read_record
        from edgeproof.server.postgres.supervisor import DATABASE, USER

        record = read_record(self.data_dir / "postgres" / "postmaster.json")
        assert record is not None
        connection = await asyncpg.connect(
            host=str(record.socket_dir),
            user=USER,
            database=DATABASE,
            password=(self.data_dir / "postgres" / "password").read_text().strip(),
        )
        try:
            await connection.execute(
                "INSERT INTO principals (principal_id, kind, name, token_digest)"
                " VALUES ('user-other', 'user', 'other', $1) ON CONFLICT DO NOTHING",
                sha256_hex(b"token-of-the-other-user"),
            )
        finally:
            await connection.close()
        return "token-of-the-other-user"


@contextlib.contextmanager
def running(folder: Path, *options: str, artifact_space: str | None = None) -> Iterator[System]:
    """``edgeproof up`` on ``folder``; on leaving it is asked to stop, and must."""
    data_dir = folder / "data"
    command = [*EDGEPROOF, "up", "--data-dir", str(data_dir), "--port", "0", "--json", *options]
    if artifact_space is not None:
        artifacts = data_dir / "artifacts"
        artifacts.mkdir(parents=True, mode=0o700)
        command = with_small_disk(artifacts, artifact_space, command)
    log = folder / "up.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment())
    assert process.stdout is not None
    with process.stdout as output:
        try:
            readable, _, _ = select.select([output], [], [], START_SECONDS)
            line = output.readline() if readable else b""
            assert line, log.read_text()
            credentials = read_credentials(data_dir)
            assert credentials is not None
            yield System(process, data_dir, msgspec.json.decode(line, type=Ready), credentials, log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


async def ended(client: ControlPlaneClient, job_id: str, seconds: float = JOB_SECONDS) -> JobView:
    """Follow the job's events until it has ended."""
    async with asyncio.timeout(seconds):
        async for _ in client.events(job_id):
            pass
    return await client.job(job_id)


async def upload(client: ControlPlaneClient, data: bytes) -> str:
    return f"sha256:{(await client.upload_bytes(data)).digest}"


async def analysed(client: ControlPlaneClient, model: bytes, **options: Any) -> JobView:
    """The ended job of ``model``; options that are bytes are uploaded first."""
    named = {
        key: await upload(client, value) if isinstance(value, bytes) else value
        for key, value in options.items()
    }
    baseline = named.get("baseline")
    if isinstance(baseline, str):
        named["baseline"] = {"model_path": baseline}
    request = AnalyzeRequest(model_path=await upload(client, model), options=named)
    return await ended(client, (await client.analyze(request)).job_id)


def demand_failed(job: JobView, code: str, stage: str, system: System) -> str:
    """A failed job tells why in one stable code and in words that name no path of this machine."""
    assert job.error is not None, job
    told = f"{job.error.code} in {job.error.stage}: {job.error.message} {job.error.evidence}"
    assert (job.status, job.error.code, job.error.stage) == ("failed", code, stage), told
    assert job.result is None
    assert job.error.message.strip()
    assert "Traceback" not in job.error.message
    assert str(system.data_dir) not in job.error.message, told
    assert {run.state for run in job.runs} <= {"COMPLETE", "FAILED", "CANCELLED"}
    assert "FAILED" in {run.state for run in job.runs}
    return job.error.message
