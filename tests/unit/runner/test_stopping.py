"""The first wish to stop lets a run finish, the second does not, and patience ends."""

from __future__ import annotations

import asyncio

from edgeproof.runner.stopping import Stopping


async def test_the_first_wish_drains_and_the_second_hands_back() -> None:
    stopping = Stopping(3600)
    stopping.ask()
    assert stopping.draining.is_set()
    assert not stopping.now.is_set()
    stopping.ask()
    assert stopping.now.is_set()
    stopping.close()


async def test_the_grace_ends() -> None:
    stopping = Stopping(0.01)
    stopping.ask()
    async with asyncio.timeout(10):
        await stopping.now.wait()


async def test_without_a_grace_the_first_wish_hands_back() -> None:
    stopping = Stopping(0)
    stopping.ask()
    assert stopping.draining.is_set()
    assert stopping.now.is_set()
