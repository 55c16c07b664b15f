"""Two control planes, each a process of its own, on one PostgreSQL and one bucket: what one takes, the other
reads, and what one throws away is no loss to the other."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import obstore
import pytest
from obstore.store import S3Store

from edgeproof.app.artifact_place import ARTIFACTS_VARIABLE
from edgeproof.app.child_process import stop_process
from edgeproof.app.serve import DATABASE_VARIABLE, Ready, ServeConfig
from edgeproof.cli.connection import read_credentials
from edgeproof.client import ControlPlaneClient
from edgeproof.client.direct_upload import DIRECT_BYTES
from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.server.upkeep.housekeeping import CHORES
from edgeproof.testing.artifact_stores import sha256
from edgeproof.testing.simulated_runner import RunnerProcess

from .conftest import ACCESS, SECRET, bucket, free_ports

LARGE = os.urandom(DIRECT_BYTES + 1)
EXPIRE = "UPDATE artifacts SET expires_at = clock_timestamp() - interval '1 s' WHERE digest = ANY($1::text[])"
KEPT_OUTSIDE = "SELECT digest FROM artifacts WHERE body IS NULL"


@dataclass
class Site:
    """What the processes share. ``folder`` holds each one's own data folder and log. With ``public_url`` they
    stand behind one name; ``urls`` are their own."""

    dsn: str
    folder: Path
    endpoint: str
    prefix: str = field(default_factory=lambda: secrets.token_hex(8))
    token: str = ""
    admin_token: str = ""
    public_url: str | None = None
    urls: list[str] = field(default_factory=list)

    @property
    def bucket(self) -> S3Store:
        return bucket(self.endpoint, prefix=self.prefix)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    @asynccontextmanager
    async def serving(self, name: str) -> AsyncIterator[ControlPlaneClient]:
        """A process, and a user's client of it."""
        (port,) = free_ports(1)
        data_dir = self.folder / name
        data_dir.mkdir(exist_ok=True)
        config = ServeConfig(
            data_dir=str(data_dir),
            host="127.0.0.1",
            port=port,
            public_url=self.public_url or f"http://127.0.0.1:{port}",
            parent_pid=os.getpid(),
        )
        own = {name: value for name, value in os.environ.items() if not name.startswith("EDGEPROOF_")}
        variables = {
            DATABASE_VARIABLE: self.dsn,
            ARTIFACTS_VARIABLE: f"s3://edgeproof/{self.prefix}",
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "edgeproof.app.serve", msgspec.json.encode(config).decode()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**own, **variables},
            )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(60):
                line = await process.stdout.readline()
            assert line, self.log(name)
            ready = msgspec.json.decode(line, type=Ready)
            if not self.token:
                credentials = read_credentials(data_dir)
                assert credentials is not None
                self.token, self.admin_token = credentials.user_token, credentials.admin_token
            self.urls.append(f"http://127.0.0.1:{port}")
            async with ControlPlaneClient(f"{self.urls[-1]}#{ready.fingerprint}", token=self.token) as client:
                yield client
        finally:
            await stop_process(process)

    async def execute(self, statement: str, *arguments: Any) -> list[Any]:
        connection = await asyncpg.connect(self.dsn)
        try:
            found: list[Any] = await connection.fetch(statement, *arguments)
            return found
        finally:
            await connection.close()

    async def kept(self) -> set[str]:
        """The digests in the bucket."""
        return {
            one["path"].rsplit("/", 1)[-1]
            async for page in obstore.list(self.bucket, prefix="sha256/")
            for one in page
        }

    async def known(self) -> set[str]:
        """The digests that the database says are in the bucket."""
        return {row["digest"] for row in await self.execute(KEPT_OUTSIDE)}


@pytest.fixture
def site(fresh_dsn: str, tmp_path: Path, s3_endpoint: str) -> Site:
    return Site(fresh_dsn, tmp_path, s3_endpoint)


async def until(true: Callable[[], Coroutine[Any, Any, bool]], why: Callable[[], str]) -> None:
    try:
        async with asyncio.timeout(30):
            while not await true():
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(why())


async def read(client: ControlPlaneClient, digest: str, folder: Path) -> bytes:
    """Checked on the way: bytes of another digest are refused."""
    path = folder / f"back-{secrets.token_hex(4)}"
    await client.download(digest, path)
    return path.read_bytes()


async def test_a_runner_whose_every_call_goes_to_another_process_does_its_jobs(
    site: Site, tmp_path: Path
) -> None:
    """Claims at one, fetches from the bucket by way of the other, uploads here and submits there."""
    site.public_url = f"http://127.0.0.1:{free_ports(1)[0]}"
    large, journal = tmp_path / "large", tmp_path / "journal"
    large.write_bytes(LARGE)
    async with site.serving("one") as one, site.serving("two") as two:
        key = PublicKey.from_base64((await one.health()).server_key)
        async with ControlPlaneClient(site.urls[0], token=site.admin_token) as admin:
            enrolment = await admin.create_enrolment_token()
        config = RunnerProcess(
            address=f"{site.public_url}#{key.fingerprint}",
            servers=tuple(site.urls),
            home=str(tmp_path / "runner"),
            token=enrolment,
            journal=str(journal),
            parent_pid=os.getpid(),
            seed=1,
            step_seconds=0.05,
        )
        with (tmp_path / "runner.log").open("ab") as log:
            runner = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "edgeproof.testing.simulated_runner"),
                msgspec.json.encode(config).decode(),
                stderr=log,
            )
        try:
            options = {"dataset": f"sha256:{(await one.publish(large)).digest}", "threads": 1}
            model = f"sha256:{(await two.upload_bytes(b'a model')).digest}"
            asked = AnalyzeRequest(model_path=model, options=options)
            jobs = [await client.analyze(asked) for client in (one, two, one)]
            for job in jobs:
                try:
                    async with asyncio.timeout(90):
                        async for _ in two.events(job.job_id):
                            pass
                except TimeoutError:
                    pytest.fail((tmp_path / "runner.log").read_text())
                ended = await one.job(job.job_id)
                assert ended.status == "completed", (ended.error, (tmp_path / "runner.log").read_text())
                assert [run.attempt for run in ended.runs] == [1, 1, 1]
        finally:
            await stop_process(runner)
    runs = [line.split()[0] for line in journal.read_text().splitlines()]
    assert len(runs) == len(set(runs)) == 9


async def test_what_one_process_took_the_other_serves_and_clears_away(site: Site, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(LARGE)
    async with site.serving("one") as one:
        async with site.serving("two") as two:
            for sender, receiver in ((one, two), (two, one)):
                small = secrets.token_bytes(2000)
                digest = (await sender.upload_bytes(small)).digest
                assert await read(receiver, digest, tmp_path) == small
            # Past the control plane, and finished by the process that was asked.
            assert (await one.publish(large)).digest == sha256(LARGE)
            assert await read(two, sha256(LARGE), tmp_path) == LARGE
            # What a job names, whoever took the job, stays.
            named = (await one.upload_bytes(b"a model")).digest
            job = await two.analyze(
                AnalyzeRequest(
                    model_path=f"sha256:{named}",
                    options={"dataset": f"sha256:{sha256(LARGE)}", "threads": 1},
                )
            )
            assert (await one.job(job.job_id)).status == "queued"
        fresh = (await one.upload_bytes(b"fresh")).digest
        unwanted = (await one.upload_bytes(b"unwanted")).digest
    everything = await site.kept()
    assert {named, fresh, unwanted, sha256(LARGE)} <= everything == await site.known()
    # A crash between keeping and committing leaves bytes that no row names.
    orphan = sha256(b"orphan")
    await obstore.put_async(site.bucket, f"sha256/{orphan[:2]}/{orphan}", b"orphan")
    await site.execute(EXPIRE, [unwanted])
    await site.execute("DELETE FROM chores")

    async with site.serving("two") as two:

        async def cleared() -> bool:
            return not {unwanted, orphan} & await site.kept()

        await until(cleared, lambda: site.log("two"))
        assert await site.kept() == await site.known() == everything - {unwanted}
        async with site.serving("one") as one:
            for client in (one, two):
                for digest in (named, fresh, sha256(LARGE)):
                    assert sha256(await read(client, digest, tmp_path)) == digest
                with pytest.raises(Refused, match="not_found"):
                    await read(client, unwanted, tmp_path)
            # Thrown away is not forbidden.
            assert (await one.upload_bytes(b"unwanted")).digest == unwanted
            assert await read(two, unwanted, tmp_path) == b"unwanted"


async def test_an_upload_is_not_cleared_away_by_another_process_at_the_same_moment(
    site: Site, tmp_path: Path
) -> None:
    """What expired and what no row names comes through one process, once, while the other clears it away."""
    expired, unnamed = ([secrets.token_bytes(1000) for _ in range(80)] for _ in range(2))
    stray = sha256(b"stray")
    async with site.serving("one") as one:

        async def begun(chore: str) -> None:
            async def is_begun() -> bool:
                return bool(await site.execute("SELECT FROM chores WHERE name = $1", chore))

            await until(is_begun, lambda: site.log("two"))

        async def upload(many: list[bytes]) -> AsyncIterator[list[str]]:
            """Their digests, eight at a time."""
            for start in range(0, len(many), 8):
                sent = await asyncio.gather(*map(one.upload_bytes, many[start : start + 8]))
                yield [artifact.digest for artifact in sent]

        async def bring(chore: str, many: list[bytes]) -> list[str]:
            """Those at the end of the bucket first: it is cleared from its front. What jobs name of it."""
            await begun(chore)
            named = []
            async for model, dataset, *_ in upload(sorted(many, key=sha256, reverse=True)):
                options = {"dataset": f"sha256:{dataset}", "threads": 1}
                await one.analyze(AnalyzeRequest(model_path=f"sha256:{model}", options=options))
                named += [model, dataset]
            return named

        await begun(CHORES[-1].name)
        async for _ in upload(expired):
            pass
        for data in (*unnamed, b"stray"):
            digest = sha256(data)
            await obstore.put_async(site.bucket, f"sha256/{digest[:2]}/{digest}", data)
        await site.execute(EXPIRE, [sha256(data) for data in expired])
        await site.execute("DELETE FROM chores")
        async with asyncio.TaskGroup() as group:
            bringing = [
                group.create_task(bring("expire uploads", expired)),
                group.create_task(bring("forget orphans", unnamed)),
            ]
            async with site.serving("two") as two:
                await asyncio.gather(*bringing, begun(CHORES[-1].name))
                # Before anything comes again, which would heal a loss.
                known, kept = await site.known(), await site.kept()
                named = {digest for task in bringing for digest in task.result()}
                brought = {sha256(data) for data in (*expired, *unnamed)}
                assert named <= brought <= known
                assert known - kept == set()
                assert stray not in kept
                for digest in sorted(named):
                    for client in (one, two):
                        assert sha256(await read(client, digest, tmp_path)) == digest
