"""How a runner ends: it takes no new work, finishes what it does within a grace, and then hands it back."""

from __future__ import annotations

import asyncio
import logging

_log = logging.getLogger(__name__)


class Stopping:
    """``draining``: claim nothing more. ``now``: give up what is under way, too.

    ``grace_seconds`` lie between the two; 0 sets both at once. Made inside the running event loop.
    """

    def __init__(self, grace_seconds: float) -> None:
        self.draining = asyncio.Event()
        self.now = asyncio.Event()
        self._grace = grace_seconds
        self._timer: asyncio.TimerHandle | None = None

    def ask(self) -> None:
        """Once: drain. Again: hand back at once."""
        if self.draining.is_set() or self._grace <= 0:
            self.now.set()
        else:
            _log.info(
                "stopping: a run under way has %g s to finish, a second signal hands it back", self._grace
            )
            self._timer = asyncio.get_running_loop().call_later(self._grace, self.now.set)
        self.draining.set()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
