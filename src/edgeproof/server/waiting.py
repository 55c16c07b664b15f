"""Waiting for a wake-up without outliving the server."""

from __future__ import annotations

import asyncio

from edgeproof.server.control_plane import ControlPlane
from edgeproof.server.listener import WakeUps


async def woken(plane: ControlPlane, wake_ups: WakeUps, seconds: float) -> None:
    """Return after a wake-up, after ``seconds``, or at once when the server stops."""
    tasks = [asyncio.create_task(wake_ups.wait(seconds)), asyncio.create_task(plane.stopping.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
