"""``python -m edgeproof.testing.faults``: what is accepted is done, and once, whatever is killed meanwhile.

Jobs are queued while runners, control planes and PostgreSQL are killed (SIGKILL) at moments drawn from a
printed seed, and while calls are lost, doubled and late. Afterwards the system is left alone, and every job
must have been completed. Only a run whose every attempt lost its lease may fail its job, and few may.
The count is taken four ways: from the jobs' events, from the evidence they list, from what the runners were
told is accepted, and from the list of all jobs, which holds none but those accepted. The moments of two runs
with one seed are drawn alike; what they hit is the scheduler's to say.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from edgeproof.client.transport import ControlPlaneClient
from edgeproof.contract.base import Wire
from edgeproof.contract.jobs import JobView
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.domain.runs import MAX_ATTEMPTS
from edgeproof.testing.faulty_system import FaultySystem, Victim
from edgeproof.testing.weather import Chances

ENDED: Final = ("COMPLETE", "FAILED", "CANCELLED")
WEATHER: Final = Chances(lost=0.02, unanswered=0.02, doubled=0.05, late=0.05, delay_seconds=0.01)
ORDERS: Final = Chances(unanswered=0.3, doubled=0.5, late=0.3)
"""How the orders of jobs fare: there are few of them, and each may become two jobs."""
VICTIMS: Final[Mapping[Victim, int]] = {"runner": 5, "server": 4, "postgres": 1}
_RUNS_A_JOB: Final = 3
_DRAIN_SECONDS: Final = 180.0
_JOBS_A_SPENT_ONE: Final = 20
_PAGE: Final = 200


class Failure(Wire, frozen=True, kw_only=True):
    """A job that ended otherwise than completed. ``attempts`` are those of its failed runs. ``passing``: its
    error lay between control plane and runner, and another attempt might have helped."""

    job_id: str
    code: str
    attempts: tuple[int, ...] = ()
    passing: bool = False

    @property
    def spent(self) -> bool:
        """Whether all attempts were used up by lost leases and the like."""
        return self.passing and min(self.attempts, default=0) >= MAX_ATTEMPTS


class Report(Wire, frozen=True, kw_only=True):
    """``accepted`` jobs were answered with an id. ``doubled`` is also a job that nobody was told of."""

    seed: int
    accepted: int
    completed: int
    failed: tuple[Failure, ...]
    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    runs: int
    killed: dict[str, int]
    attempts: dict[str, int]
    seconds: float

    @property
    def good(self) -> bool:
        """All completed but for spent ones: one, or one of every twenty accepted."""
        spent = sum(one.spent for one in self.failed)
        return (
            not self.lost
            and not self.doubled
            and self.completed + spent == self.accepted
            and spent <= max(1, self.accepted // _JOBS_A_SPENT_ONE)
        )


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """Goes on until ``runs`` runs were queued and ``kills`` processes killed, ``victims`` by weight."""

    runs: int = 200
    kills: int = 200
    runners: int = 4
    servers: int = 2
    pause_seconds: float = 0.25
    lease_seconds: float = 3.0
    chances: Chances = WEATHER
    victims: Mapping[Victim, int] = field(default_factory=lambda: VICTIMS)
    seed: int = field(default_factory=lambda: secrets.randbelow(1 << 31))


async def run_campaign(campaign: Campaign, folder: Path) -> Report:
    clock = asyncio.get_running_loop().time
    began = clock()
    chance = random.Random(campaign.seed)
    system = FaultySystem(
        folder, servers=campaign.servers, lease_seconds=campaign.lease_seconds, seed=campaign.seed
    )
    async with system.running():
        for _ in range(campaign.runners):
            await system.add_runner(campaign.chances)
        token = system.credentials.user_token
        async with system.client(token) as user, system.client(token, chances=ORDERS) as orders:
            killed: Counter[str] = Counter()
            accepted: list[str] = []
            killing = asyncio.create_task(_kill(system, campaign, chance, killed))
            queueing = asyncio.create_task(_queue(user, orders, campaign, accepted, killing))
            await asyncio.gather(killing, queueing)
            ended = await _ended(user, accepted)
            return await _report(system, user, campaign, accepted, ended, killed, clock() - began)


async def _kill(
    system: FaultySystem, campaign: Campaign, chance: random.Random, killed: Counter[str]
) -> None:
    kinds, weights = list(campaign.victims), list(campaign.victims.values())
    while killed.total() < campaign.kills:
        await asyncio.sleep(chance.expovariate(1 / campaign.pause_seconds))
        (victim,) = chance.choices(kinds, weights)
        if system.kill(victim, chance):
            killed[victim] += 1


async def _queue(
    user: ControlPlaneClient,
    orders: ControlPlaneClient,
    campaign: Campaign,
    accepted: list[str],
    killing: asyncio.Task[None],
) -> None:
    """Keeps some jobs waiting until all that was planned has happened."""
    model = f"sha256:{(await user.upload_bytes(b'a model')).digest}"
    dataset = f"sha256:{(await user.upload_bytes(b'a data set')).digest}"
    open_jobs: set[str] = set()
    while len(accepted) * _RUNS_A_JOB < campaign.runs or not killing.done():
        if killing.done() and killing.exception() is not None:
            return
        if len(open_jobs) < 2 * campaign.runners:
            request = AnalyzeRequest(model_path=model, options={"dataset": dataset, "threads": 1})
            job_id = (await orders.analyze(request)).job_id
            accepted.append(job_id)
            open_jobs.add(job_id)
            continue
        for job_id in sorted(open_jobs):
            if (await user.job(job_id)).status not in ("queued", "running"):
                open_jobs.discard(job_id)
        await asyncio.sleep(0.05)


async def _ended(user: ControlPlaneClient, accepted: list[str]) -> dict[str, JobView]:
    """The jobs that ended in good time, with nothing being killed any more."""
    ended: dict[str, JobView] = {}
    clock = asyncio.get_running_loop().time
    deadline = clock() + _DRAIN_SECONDS
    while len(ended) < len(set(accepted)) and clock() < deadline:
        for job_id in accepted:
            if job_id not in ended:
                job = await user.job(job_id)
                if job.status not in ("queued", "running"):
                    ended[job_id] = job
        await asyncio.sleep(0.1)
    return ended


async def _report(
    system: FaultySystem,
    user: ControlPlaneClient,
    campaign: Campaign,
    accepted: list[str],
    ended: dict[str, JobView],
    killed: Counter[str],
    seconds: float,
) -> Report:
    doubled = _accepted_twice(system) + await _never_accepted(system, accepted)
    attempts: Counter[str] = Counter()
    for job in ended.values():
        doubled += await _told_twice(user, job)
        attempts.update(str(run.attempt) for run in job.runs)
    return Report(
        seed=campaign.seed,
        accepted=len(accepted),
        completed=sum(job.status == "completed" for job in ended.values()),
        failed=tuple(_failure(job) for job in ended.values() if job.status != "completed"),
        lost=tuple(sorted(set(accepted) - set(ended))),
        doubled=tuple(sorted(doubled)),
        runs=sum(len(job.runs) for job in ended.values()),
        killed=dict(killed),
        attempts=dict(sorted(attempts.items())),
        seconds=seconds,
    )


def _failure(job: JobView) -> Failure:
    attempts = tuple(run.attempt for run in job.runs if run.state == "FAILED")
    if job.error is None:
        return Failure(job_id=job.job_id, code=job.status, attempts=attempts)
    error = job.error.attributed()
    passing = error.fault == "infrastructure" and bool(error.retryable)
    return Failure(job_id=job.job_id, code=error.code, attempts=attempts, passing=passing)


async def _never_accepted(system: FaultySystem, accepted: list[str]) -> list[str]:
    """Jobs of the control plane's that nobody was told of."""
    found: set[str] = set()
    async with system.client(system.credentials.admin_token) as admin:
        page = await admin.jobs(limit=_PAGE)
        found.update(job.job_id for job in page.jobs)
        while page.next_cursor is not None:
            page = await admin.jobs(limit=_PAGE, cursor=page.next_cursor)
            found.update(job.job_id for job in page.jobs)
    return [f"job {job_id}: never accepted" for job_id in found - set(accepted)]


def _accepted_twice(system: FaultySystem) -> list[str]:
    """Runs of which two different results were told to be accepted."""
    results: dict[str, set[tuple[int, str]]] = {}
    for run_id, attempt, digest in system.accepted():
        results.setdefault(run_id, set()).add((attempt, digest))
    return [f"run {run_id}: {len(found)} results" for run_id, found in results.items() if len(found) > 1]


async def _told_twice(user: ControlPlaneClient, job: JobView) -> list[str]:
    """What happened to the job or a run of it more than once, by its events and by its evidence."""
    ends: Counter[str] = Counter()
    last = 0
    found = []
    async for event in user.events(job.job_id):
        if event.seq != last + 1:
            found.append(f"job {job.job_id}: event {event.seq} after {last}")
        last = event.seq
        if event.type == "metadata" and event.data.get("state") in ENDED:
            ends[f"run {event.data['run_id']}"] += 1
        if event.type == "status" and event.data["status"] not in ("queued", "running"):
            ends[f"job {job.job_id}"] += 1
    kinds = Counter(one.kind for one in (await user.evidence(job.job_id)).items)
    if job.status == "completed" and kinds["decision"] != 1:
        found.append(f"job {job.job_id}: {kinds['decision']} decisions")
    return found + [f"{what}: {count} ends" for what, count in ends.items() if count > 1]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m edgeproof.testing.faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=Campaign.runs)
    parser.add_argument("--kills", type=int, default=Campaign.kills)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--folder", type=Path, default=None, help="kept afterwards; default: a temporary one")
    given = parser.parse_args()
    more = {} if given.seed is None else {"seed": given.seed}
    campaign = Campaign(runs=given.runs, kills=given.kills, **more)
    sys.stderr.write(f"seed {campaign.seed}\n")
    with tempfile.TemporaryDirectory(prefix="edgeproof-faults-") as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        report = asyncio.run(run_campaign(campaign, folder))
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(report)).decode() + "\n")
    spent = sum(one.spent for one in report.failed)
    sys.stdout.write(
        f"jobs accepted {report.accepted}, completed {report.completed}, "
        f"failed {len(report.failed)}, {spent} of them with no attempt left, "
        f"lost {len(report.lost)}, doubled {len(report.doubled)}\n"
    )
    raise SystemExit(0 if report.good else 1)


if __name__ == "__main__":
    main()
