"""Ends leases that expired without an outcome; beside that, advances the jobs that wait for it.

The two go each at its own pace: a sweep may wait for many decisions, and no lost runner's work for a sweep.
Time is the database's. A reaper that has just started, or finds more than half of the leases expired at
once, suspects itself or the database and not the runners: it waits one lease first (DESIGN decision 6).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from edgeproof.contract.log_ids import about
from edgeproof.server.jobs.advance import sweep
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.server.queue.one_by_one import end_each
from edgeproof.server.queue.revoke import end_unlisted_leases
from edgeproof.server.runs import queue_sql
from edgeproof.server.runs.run_endings import lease_lost

_logger = logging.getLogger(__name__)
_BATCH: Final = 1000


@dataclass(slots=True)
class Patience:
    """When a reaper may reap. Pure but for its own memory; every ``now`` is the database's."""

    lease: timedelta
    _until: datetime | None = None
    _before: datetime | None = None

    def limit(self, now: datetime, leased: int, expired: int) -> datetime | None:
        """Leases that expired up to this moment may be reaped; None: none for now.

        ``expired`` of the ``leased`` runs have an expired lease.
        """
        if self._until is None:
            # Just started: whoever still lives had one lease in which to say so.
            self._until = self._before = now + self.lease
        if now < self._until:
            return None
        if self._before is not None:
            limit, self._before = self._before, None
            return limit
        if expired * 2 > leased:
            self._until, self._before = now + self.lease, now
            return None
        return now


async def run_reaper(plane: ControlPlane) -> None:
    """Reap, and sweep, until the server stops; between two of either lie ``reap_interval_seconds``.

    Whatever goes wrong is logged and tried again: without this no lost runner's work would be done.
    """
    patience = Patience(timedelta(seconds=plane.settings.longest_lease()))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            _again_and_again(
                plane,
                {
                    "reap": partial(reap, plane, patience),
                    "end leases of removed keys": partial(end_unlisted_leases, plane),
                },
            )
        )
        tasks.create_task(_again_and_again(plane, {"sweep": partial(sweep, plane)}))


async def _again_and_again(plane: ControlPlane, works: Mapping[str, Callable[[], Awaitable[int]]]) -> None:
    """One work after the other, each by what it is called."""
    while not plane.stopping.is_set():
        for what, work in works.items():
            try:
                await work()
            except Exception:
                _logger.exception("could not %s; it will be tried again", what)
        try:
            await asyncio.wait_for(plane.stopping.wait(), plane.settings.reap_interval_seconds)
        except TimeoutError:
            continue


async def reap(plane: ControlPlane, patience: Patience) -> int:
    """End the leases that may be ended; how many. Their runs wait again, or have failed."""
    (counts,) = await plane.database.pool.fetch(queue_sql.LEASE_COUNTS)
    limit = patience.limit(counts["now"], counts["leased"], counts["expired"])
    if limit is None:
        return 0
    if counts["expired"] == 0:
        return 0
    expired = await plane.database.pool.fetch(queue_sql.EXPIRED, limit, _BATCH)
    return await end_each((row["run_id"] for row in expired), partial(_reap_one, plane, limit, set()))


async def _reap_one(plane: ControlPlane, limit: datetime, struck: set[str], run_id: str) -> bool:
    """``struck``: the runners that this round has struck already, each once however many leases it lost."""
    async with plane.database.transaction() as connection:
        run = await connection.fetchrow(queue_sql.LOCK_EXPIRED, limit, run_id)
        if run is None:
            return False
        await lease_lost(
            plane,
            connection,
            run,
            "was not heard of within its lease",
            about_runner="nothing" if run["runner_id"] in struck else "strike",
        )
    struck.add(run["runner_id"])
    plane.meters.reaps.labels(run["stage"]).inc()
    plane.meters.lease_lost(run["stage"])
    with about(job_id=run["job_id"], run_id=run["run_id"], runner_id=run["runner_id"]):
        _logger.info("lease reaped, attempt %s of %s", run["attempt"], run["max_attempts"])
    return True
