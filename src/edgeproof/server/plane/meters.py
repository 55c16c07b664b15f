"""What one replica counts for its operators (Prometheus). It decides nothing and is lost with the process.

What all replicas share (the queue's depth, the leases) is not counted here but asked of the database when
somebody looks: ``queue_gauges``.
"""

from __future__ import annotations

import asyncio
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_LAG_SECONDS: Final = 0.25
_LAG_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Meters:
    """Counters of a registry of their own: several control planes may live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.claims = Counter("edgeproof_claims", "Leases granted", ["stage"], registry=self.registry)
        self.waiting = Gauge(
            "edgeproof_claims_waiting", "Claims that wait for work at this replica", registry=self.registry
        )
        self.submissions = Counter(
            "edgeproof_submissions",
            "Signed results stored",
            ["stage"],
            registry=self.registry,
        )
        self.failures = Counter(
            "edgeproof_run_failures",
            "Attempts that ended without a result, by whose fault it was",
            ["stage", "fault", "code"],
            registry=self.registry,
        )
        self.reaps = Counter(
            "edgeproof_reaps", "Leases that expired and were ended", ["stage"], registry=self.registry
        )
        self.requests = Histogram(
            "edgeproof_request_seconds",
            "From a request's head to its answer's head; long polls wait on purpose",
            ["method", "route", "status"],
            buckets=_REQUEST_BUCKETS,
            registry=self.registry,
        )
        self.loop_lag = Histogram(
            "edgeproof_event_loop_lag_seconds",
            "By how much a timer of the event loop was late",
            buckets=_LAG_BUCKETS,
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)

    def lease_lost(self, stage: str, code: str = "lease_expired") -> None:
        """An attempt ended without a word of its runner."""
        self.failures.labels(stage, "infrastructure", code).inc()


async def watch_loop(meters: Meters, stopping: asyncio.Event) -> None:
    """Observes the event loop's lag until ``stopping``."""
    clock = asyncio.get_running_loop().time
    while not stopping.is_set():
        due = clock() + _LAG_SECONDS
        try:
            await asyncio.wait_for(stopping.wait(), _LAG_SECONDS)
        except TimeoutError:
            meters.loop_lag.observe(max(0.0, clock() - due))
