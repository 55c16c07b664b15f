"""The Lab's speed against its goals: ``python benchmarks/lab.py [--jobs 1000,100000] [--seconds 5]``.

A running ``edgeproof up`` on an embedded PostgreSQL, 32 keep-alive connections, and the generator on the
same cores. Goals (issue 4): ``GET /api/jobs/{id}`` at least 2,000 req/s, ``POST /api/analyze`` at least 500
durable jobs/s, p99 under 50 ms, and each of them, listing pages included, flat within 1.2x from the first
number of stored jobs to the last. They are printed and not asserted: a busy machine is not a defect.

Stored jobs are cloned inside the database from two that came by the API, one queued and one completed with
a whole result, nine completed ones for each queued one; then ``ANALYZE``, as autovacuum would do. Everything
that is measured goes over HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import msgspec
import psutil
from load import Figures, load, request

from edgeproof.app.serve import DATABASE_VARIABLE, Ready
from edgeproof.cli.connection import read_credentials
from edgeproof.client import ControlPlaneClient
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.runners import Capabilities, EngineCapability
from edgeproof.lab.bundle import response_bundle
from edgeproof.server.postgres import EmbeddedPostgres
from edgeproof.testing.folder import make_folder

CONNECTIONS = 32
FLAT = 1.2
P99_MS = 50.0
GOALS = {
    "GET /api/jobs/{id}, queued": 2000.0,
    "GET /api/jobs/{id}, completed": 2000.0,
    "POST /api/analyze": 500.0,
}
ENGINE = EngineCapability(name="onnxruntime", version="1", targets=("cpu",), precisions=("fp32",))
DEVICE = Capabilities(
    device_class="linux-bench", cpu_count=2, memory_bytes=8 << 30, isolation="namespaces",
    backends=(ENGINE,), toolchains=(ENGINE,),
)  # fmt: skip

COMPLETE = """
UPDATE jobs SET status = 'completed', result = $2::text::jsonb, updated_at = clock_timestamp()
WHERE job_id = $1
"""
OUTCOMES = """
INSERT INTO run_outcomes (run_id, state, attempt) SELECT run_id, 'COMPLETE', 1 FROM runs WHERE job_id = $1
"""
LEAVE_QUEUE = "DELETE FROM run_queue USING runs WHERE runs.run_id = run_queue.run_id AND job_id = $1"
STORED = "SELECT job_id FROM jobs WHERE status = $1 AND job_id LIKE 'stored-%'"
# Each clones the rows of job $1 for the numbers $2 to $3.
JOBS = """
INSERT INTO jobs (job_id, owner_id, workflow, status, input_summary, result, policy_digest)
SELECT 'stored-' || n, owner_id, workflow, status, input_summary, result, policy_digest
FROM jobs, generate_series($2::integer, $3::integer) n WHERE job_id = $1
"""
EVENTS = """
INSERT INTO job_events (job_id, seq, type, data)
SELECT 'stored-' || n, seq, type, data
FROM job_events, generate_series($2::integer, $3::integer) n WHERE job_id = $1
"""
ARTIFACTS = """
INSERT INTO job_artifacts (job_id, digest, role)
SELECT 'stored-' || n, digest, role
FROM job_artifacts, generate_series($2::integer, $3::integer) n WHERE job_id = $1
"""
RUNS = """
INSERT INTO runs (run_id, job_id, stage, role, class_id, config, limits)
SELECT run_id || '-' || n, 'stored-' || n, stage, role, class_id, config, limits
FROM runs, generate_series($2::integer, $3::integer) n WHERE job_id = $1
"""
QUEUE = """
INSERT INTO run_queue (run_id, class_id) SELECT q.run_id || '-' || n, q.class_id
FROM run_queue q JOIN runs USING (run_id), generate_series($2::integer, $3::integer) n WHERE job_id = $1
"""
DONE = """
INSERT INTO run_outcomes (run_id, state, attempt) SELECT o.run_id || '-' || n, o.state, o.attempt
FROM run_outcomes o JOIN runs USING (run_id), generate_series($2::integer, $3::integer) n WHERE job_id = $1
"""


@dataclass
class Lab:
    url: str
    token: str
    database: asyncpg.Connection
    queued: str
    completed: str
    model: str
    processes: dict[str, psutil.Process]
    stored: int = 0
    seen: dict[str, dict[int, float]] = field(default_factory=dict)
    keys: Iterator[int] = field(default_factory=itertools.count)

    def cpu(self) -> dict[str, float]:
        """Seconds of processor time so far, by part: a process and its children, except for ourselves."""
        spent = {}
        for name, process in self.processes.items():
            seen = self.seen.setdefault(name, {})
            for one in (process, *(() if process.pid == os.getpid() else process.children(recursive=True))):
                with contextlib.suppress(psutil.NoSuchProcess):
                    used = one.cpu_times()
                    seen[one.pid] = used.user + used.system
            # Also of those that have ended.
            spent[name] = sum(seen.values())
        return spent

    async def store(self, jobs: int) -> None:
        """Clones until there are so many."""
        while self.stored < jobs:
            first, last = self.stored, min(jobs, self.stored + 5000) - 1
            split = last - (last - first + 1) // 10
            for job, start, end in ((self.completed, first, split), (self.queued, split + 1, last)):
                for statement in (JOBS, EVENTS, ARTIFACTS, RUNS, QUEUE, DONE):
                    await self.database.execute(statement, job, start, end)
            self.stored = last + 1
        await self.database.execute("ANALYZE")

    async def ids(self, status: str) -> list[str]:
        """Of stored jobs in that state, shuffled."""
        rows = await self.database.fetch(STORED, status)
        found = [row["job_id"] for row in rows]
        random.Random(1).shuffle(found)
        return found

    def get(self, path: str) -> bytes:
        return request(self.url, "GET", path, self.token)

    async def roads(self) -> dict[str, Iterator[bytes]]:
        middle = await self.database.fetchval("SELECT (min(seq) + max(seq)) / 2 FROM jobs")
        ask = json.dumps({"model_path": self.model, "options": {"batch": 1}}).encode()
        posts = (
            request(self.url, "POST", "/api/analyze", self.token, ask, {"Idempotency-Key": f"key-{key}"})
            for key in self.keys
        )
        queued, completed = await self.ids("queued"), await self.ids("completed")
        return {
            "GET /api/jobs/{id}, queued": itertools.cycle([self.get(f"/api/jobs/{one}") for one in queued]),
            "GET /api/jobs/{id}, completed": itertools.cycle(
                [self.get(f"/api/jobs/{one}") for one in completed]
            ),
            "GET /api/jobs, first page of 50": itertools.repeat(self.get("/api/jobs")),
            "GET /api/jobs, page in the middle": itertools.repeat(self.get(f"/api/jobs?cursor={middle}")),
            "GET /api/jobs?status=queued": itertools.repeat(self.get("/api/jobs?status=queued")),
            "GET /api/jobs?status=failed": itertools.repeat(self.get("/api/jobs?status=failed")),
            "POST /api/analyze": posts,
        }


@asynccontextmanager
async def lab(folder: Path) -> AsyncIterator[Lab]:
    postgres = EmbeddedPostgres(folder / "postgres")
    dsn = (await postgres.start()).dsn()
    command = [sys.executable, "-m", "edgeproof", "up", "--json", "--no-runner", "--port", "0"]
    process = subprocess.Popen(  # noqa: ASYNC220 - one process, before anything is measured
        [*command, "--data-dir", str(folder / "data")],
        stdout=subprocess.PIPE,
        env={**os.environ, DATABASE_VARIABLE: dsn},
    )
    try:
        assert process.stdout is not None
        ready = msgspec.json.decode(await asyncio.to_thread(process.stdout.readline), type=Ready)
        credentials = read_credentials(folder / "data")
        assert credentials is not None
        async with (
            ControlPlaneClient(ready.url, token=credentials.admin_token) as admin,
            ControlPlaneClient(ready.url) as device,
            ControlPlaneClient(ready.url, token=credentials.user_token) as user,
        ):
            await device.register(SigningKey.generate(), DEVICE, await admin.create_enrolment_token())
            model = f"sha256:{(await user.upload_bytes(b'a model')).digest}"
            asked = AnalyzeRequest(model_path=model, options={"batch": 1})
            queued, completed = [(await user.analyze(asked)).job_id for _ in range(2)]
        database = await asyncpg.connect(dsn)
        made = make_folder()
        bundle = response_bundle(made.dossier, made.decision, made.decision_digest)
        await database.execute(COMPLETE, completed, msgspec.json.encode(bundle).decode())
        await database.execute(OUTCOMES, completed)
        await database.execute(LEAVE_QUEUE, completed)
        parts = {
            "server": psutil.Process(process.pid),
            "PostgreSQL": psutil.Process(postgres.pid),
            "generator": psutil.Process(),
        }
        yield Lab(ready.url, credentials.user_token, database, queued, completed, model, parts)
        await database.close()
    finally:
        process.terminate()
        process.wait(30)
        await postgres.stop()


def verdict(name: str, found: Figures) -> str:
    goal = GOALS.get(name)
    missed = [f"under {goal:.0f} req/s"] if goal is not None and found.per_second < goal else []
    missed += [f"p99 over {P99_MS:.0f} ms"] if found.p99_ms > P99_MS else []
    return "goal missed: " + ", ".join(missed) if missed else "goal met"


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--jobs", default="1000,100000", help="numbers of stored jobs, growing")
    options.add_argument("--seconds", type=float, default=5.0, help="per figure")
    options.add_argument("--only", default="", help="only what contains this text")
    asked = options.parse_args()
    found: dict[str, list[Figures]] = {}
    spent: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with lab(Path(folder)) as running:
            for jobs in [int(one) for one in asked.jobs.split(",")]:
                await running.store(jobs)
                print(f"{jobs} stored jobs, {CONNECTIONS} connections, {asked.seconds:g} s each", flush=True)
                for name, requests in (await running.roads()).items():
                    if asked.only not in name:
                        continue
                    load(running.url, requests, connections=CONNECTIONS, seconds=1)  # warm-up
                    before = running.cpu()
                    one = load(running.url, requests, connections=CONNECTIONS, seconds=asked.seconds)
                    used = {part: now - before[part] for part, now in running.cpu().items()}
                    found.setdefault(name, []).append(one)
                    both = used["server"] + used["PostgreSQL"]
                    spent.setdefault(name, []).append(both / one.answers)
                    print(f"  {name:34} {one.words()}  {verdict(name, one)}")
                    each = ", ".join(f"{part} {s / one.answers * 1000:.2f}" for part, s in used.items())
                    print(f"  {'':34} processor ms an answer: {each}", flush=True)
    print("from the first number of stored jobs to the last (goal: 1.2x at most)")
    for name, figures in found.items():
        grown = figures[0].per_second / figures[-1].per_second
        work = spent[name][-1] / spent[name][0]
        met = "goal met" if grown <= FLAT else "goal missed"
        print(f"  {name:34} {grown:5.2f}x  {met}; processor time an answer {work:5.2f}x")


if __name__ == "__main__":
    asyncio.run(main())
