"""Keeps one lease while its work goes on, and says when the work must stop.

Heartbeats carry the latest progress: soon after it changed, and in any case at the server's interval. Its
message is the run's status, told when it is another than the server has.
An unreachable server does not stop the work, nor does one that refuses a heartbeat for another reason; only
its word that the lease is gone does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import Final, Literal

from edgeproof.contract.errors import EdgeproofError
from edgeproof.contract.jobs import Progress
from edgeproof.contract.runners import MAX_STATUS, HeartbeatRequest
from edgeproof.domain.runs import Lease
from edgeproof.runner.session import Session

_log = logging.getLogger(__name__)

PROGRESS_SECONDS: Final = 1.0
"""The shortest time between two heartbeats: progress is for people to watch."""

_LOST: Final = frozenset({"stale_lease", "key_not_allowed"})
"""Removing a key ends its leases."""

Ending = Literal["cancel_requested", "lease_lost"]


class LeaseKeeper:
    """``note`` takes progress; ``keep`` returns why the work must stop, else runs until cancelled."""

    def __init__(self, session: Session, run_id: str, lease: Lease, heartbeat_seconds: float) -> None:
        self._session = session
        self._run_id = run_id
        self._lease = lease
        self._heartbeat_seconds = heartbeat_seconds
        self._progress: Progress | None = None
        self._told: str | None = None
        """The status that the server has."""
        self._changed = asyncio.Event()

    def note(self, progress: Progress) -> None:
        self._progress = progress
        self._changed.set()

    async def keep(self) -> Ending:
        while True:
            self._changed.clear()
            status = self._news()
            request = HeartbeatRequest(progress=self._progress, status=status)
            try:
                answer = await self._session.call(
                    partial(self._session.control_plane.heartbeat, self._run_id, self._lease, request)
                )
                self._told = status or self._told
                if answer.cancel_requested:
                    return "cancel_requested"
            except EdgeproofError as error:
                if error.code in _LOST:
                    _log.warning("run %s: lease lost (%s)", self._run_id, error.code)
                    return "lease_lost"
                _log.warning("run %s: heartbeat not delivered (%s)", self._run_id, error.code)
            shortest = min(PROGRESS_SECONDS, self._heartbeat_seconds)
            await asyncio.sleep(shortest)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_seconds - shortest):
                    await self._changed.wait()

    def _news(self) -> str | None:
        """What the stage says that it does, if the server has not heard it."""
        message = self._progress.message if self._progress is not None else None
        status = (message or "")[:MAX_STATUS]
        return status if status and status != self._told else None
