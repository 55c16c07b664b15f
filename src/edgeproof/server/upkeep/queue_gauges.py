"""The metrics document: this replica's counters, and how the queue stands in the database.

Each replica asks the database once in ``Settings.gauges_kept_seconds``, however often it is scraped. What
classes there are is users' making, and ever more: only the deepest have a series of their own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from edgeproof.server.audit.audit_seal import unsealed
from edgeproof.server.jobs.dead_letters import count_dead
from edgeproof.server.plane.control_plane import ControlPlane

SHOWN_CLASSES: Final = 20
OTHER: Final = "other"
"""The label of all classes beyond those, together."""

# One pass over the hot table, which holds unfinished runs only.
_RUNS: Final = """
SELECT q.class_id::text AS class, r.stage, q.state, count(*) AS runs,
    extract(epoch FROM clock_timestamp() - min(q.queued_at))::float8 AS oldest,
    count(*) FILTER (WHERE q.lease_expires_at <= clock_timestamp()) AS expired
FROM run_queue q JOIN runs r USING (run_id) GROUP BY q.class_id, r.stage, q.state
"""
_JOBS: Final = """
SELECT status, count(*) AS jobs FROM jobs WHERE status IN ('queued', 'running') GROUP BY status
"""
_RUNNERS: Final = """
SELECT count(*) AS registered,
    count(*) FILTER (WHERE last_seen_at > clock_timestamp() - interval '2 minutes') AS seen,
    count(*) FILTER (WHERE standing = 'draining') AS draining,
    count(*) FILTER (WHERE standing = 'quarantined') AS quarantined
FROM good_runners JOIN runners USING (runner_id)
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the database told at one moment: rows of the statements above, and counts."""

    runs: Sequence[Any]
    jobs: Sequence[Any]
    runners: Any
    dead: int
    unsealed: int


async def metrics_document(plane: ControlPlane) -> bytes:
    """Prometheus text format. Raises what asyncpg raises."""
    figures = await plane.figures.get(partial(_ask, plane), plane.settings.gauges_kept_seconds)
    return _document(plane, figures)


async def _ask(plane: ControlPlane) -> Figures:
    """One statement at a time: scrapes hold one connection at most."""
    async with plane.database.pool.acquire() as connection:
        return Figures(
            runs=await connection.fetch(_RUNS),
            jobs=await connection.fetch(_JOBS),
            runners=await connection.fetchrow(_RUNNERS),
            dead=await count_dead(connection),
            unsealed=await unsealed(connection),
        )


def _document(plane: ControlPlane, figures: Figures) -> bytes:
    shared = CollectorRegistry()
    pool = plane.database.pool
    queue_series(shared, figures.runs)
    jobs = Gauge("edgeproof_jobs", "Jobs that have not ended", ["status"], registry=shared)
    for row in figures.jobs:
        jobs.labels(row["status"]).set(row["jobs"])
    runners = figures.runners
    fleet = Gauge("edgeproof_runners", "Runners with a good key; seen: within two minutes", ["which"],
                  registry=shared)  # fmt: skip
    for which in ("registered", "seen", "draining", "quarantined"):
        fleet.labels(which).set(runners[which])
    dead = Gauge("edgeproof_dead_letters", "Runs that failed for want of attempts, ever", registry=shared)
    dead.set(figures.dead)
    tail = Gauge("edgeproof_audit_unsealed", "Entries of the audit log that no seal covers", registry=shared)
    tail.set(figures.unsealed)
    connections = Gauge("edgeproof_database_connections", "This replica's pool", ["which"], registry=shared)
    connections.labels("open").set(pool.get_size())
    connections.labels("idle").set(pool.get_idle_size())
    connections.labels("most").set(pool.get_max_size())
    return generate_latest(plane.meters.registry) + generate_latest(shared)


def shown_classes(rows: Sequence[Any]) -> frozenset[str]:
    """The classes with the most waiting runs, those that come first in the alphabet where as many wait."""
    waiting: Counter[str] = Counter()
    for row in rows:
        if row["state"] == "PENDING":
            waiting[row["class"]] += row["runs"]
    deepest = sorted(waiting.items(), key=lambda one: (-one[1], one[0]))
    return frozenset(name for name, _ in deepest[:SHOWN_CLASSES])


def queue_series(registry: CollectorRegistry, rows: Sequence[Any]) -> None:
    """``rows`` have the columns of ``_RUNS``."""
    depth = Gauge(
        "edgeproof_queue_depth", "Runs that wait", ["requirement_class", "stage"], registry=registry
    )
    oldest = Gauge(
        "edgeproof_queue_oldest_seconds",
        "Age of the run that has waited longest",
        ["requirement_class", "stage"],
        registry=registry,
    )
    leases = Gauge("edgeproof_leases", "Runs under a lease", ["stage"], registry=registry)
    expired = Gauge(
        "edgeproof_leases_expired", "Leases past their expiry, not ended yet", ["stage"], registry=registry
    )
    shown = shown_classes(rows)
    ages: defaultdict[tuple[str, str], float] = defaultdict(float)
    for row in rows:
        if row["state"] == "PENDING":
            labels = (row["class"] if row["class"] in shown else OTHER, row["stage"])
            depth.labels(*labels).inc(row["runs"])
            ages[labels] = max(ages[labels], row["oldest"])
        else:
            leases.labels(row["stage"]).inc(row["runs"])
            expired.labels(row["stage"]).inc(row["expired"])
    for labels, age in ages.items():
        oldest.labels(*labels).set(age)
