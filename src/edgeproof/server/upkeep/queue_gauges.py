"""The metrics document: this replica's counters, and how the queue stands in the database at this moment."""

from __future__ import annotations

from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from edgeproof.server.plane.control_plane import ControlPlane

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
FROM runners
"""


async def metrics_document(plane: ControlPlane) -> bytes:
    """Prometheus text format. Raises what asyncpg raises."""
    shared = CollectorRegistry()
    pool = plane.database.pool
    _queue(shared, await pool.fetch(_RUNS))
    jobs = Gauge("edgeproof_jobs", "Jobs that have not ended", ["status"], registry=shared)
    for row in await pool.fetch(_JOBS):
        jobs.labels(row["status"]).set(row["jobs"])
    (runners,) = await pool.fetch(_RUNNERS)
    fleet = Gauge("edgeproof_runners", "Registered runners; seen: within two minutes", ["which"],
                  registry=shared)  # fmt: skip
    for which in ("registered", "seen", "draining", "quarantined"):
        fleet.labels(which).set(runners[which])
    connections = Gauge("edgeproof_database_connections", "This replica's pool", ["which"], registry=shared)
    connections.labels("open").set(pool.get_size())
    connections.labels("idle").set(pool.get_idle_size())
    connections.labels("most").set(pool.get_max_size())
    return generate_latest(plane.meters.registry) + generate_latest(shared)


def _queue(registry: CollectorRegistry, rows: list[Any]) -> None:
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
    for row in rows:
        if row["state"] == "PENDING":
            depth.labels(row["class"], row["stage"]).set(row["runs"])
            oldest.labels(row["class"], row["stage"]).set(row["oldest"])
        else:
            leases.labels(row["stage"]).inc(row["runs"])
            expired.labels(row["stage"]).inc(row["expired"])
