"""Whether this replica can do work just now: what a load balancer asks, however often and whoever it is."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from edgeproof.server.plane.control_plane import ControlPlane

READY_SECONDS: Final = 2.0


async def is_ready(plane: ControlPlane) -> bool:
    """Whether it is not stopping and the database answers it within ``READY_SECONDS``, the wait for one of
    the pool's connections included. Many askers hold one connection at most."""
    if plane.stopping.is_set():
        return False
    try:
        async with asyncio.timeout(READY_SECONDS):
            return await plane.readiness.get(partial(plane.database.answers, READY_SECONDS), 0)
    except TimeoutError:
        return False
