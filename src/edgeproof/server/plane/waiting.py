"""Waiting for a wake-up without outliving the server."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from edgeproof.server.db.listener import WakeUps
from edgeproof.server.db.turns import Turn
from edgeproof.server.plane.control_plane import ControlPlane


async def woken(plane: ControlPlane, wake_ups: WakeUps, seconds: float) -> None:
    """Return after a wake-up, after ``seconds``, or at once when the server stops."""
    await _unless_stopping(plane, wake_ups.wait(seconds), seconds)


async def called(plane: ControlPlane, turn: Turn, seconds: float) -> None:
    """Return after a call, after ``seconds``, or at once when the server stops."""
    await _unless_stopping(plane, turn.called(), seconds)


async def _unless_stopping(plane: ControlPlane, waiting: Coroutine[Any, Any, Any], seconds: float) -> None:
    tasks = [asyncio.create_task(waiting), asyncio.create_task(plane.stopping.wait())]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
