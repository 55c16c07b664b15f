from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from edgeproof.contract.errors import Unavailable
from edgeproof.runtime.host_lock import host_lock, make_host_lock


def unexpected() -> None:
    raise AssertionError("nobody holds the lock")


async def test_the_second_waits_for_the_first(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    waits = asyncio.Event()
    order: list[str] = []

    async def second() -> None:
        async with host_lock(path, on_wait=waits.set):
            order.append("second in")

    async with host_lock(path, on_wait=unexpected):
        task = asyncio.ensure_future(second())
        await asyncio.wait_for(waits.wait(), 10)
        order.append("first out")
    await task
    assert order == ["first out", "second in"]


async def test_cancelling_a_wait_takes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    waits = asyncio.Event()

    async def second() -> None:
        async with host_lock(path, on_wait=waits.set):
            raise AssertionError("it is held")

    async with host_lock(path, on_wait=unexpected):
        task = asyncio.ensure_future(second())
        await asyncio.wait_for(waits.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with host_lock(path, on_wait=unexpected):
        pass


async def test_every_user_may_take_it(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        async with host_lock(tmp_path / "lock", on_wait=unexpected):
            assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(before)


async def test_links_and_pipes_in_its_place_are_refused(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch(mode=0o600)
    (tmp_path / "link").symlink_to(victim)
    (tmp_path / "dangling").symlink_to(tmp_path / "new")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "dangling", "pipe", "folder"):
        with pytest.raises(Unavailable):
            async with host_lock(tmp_path / name, on_wait=unexpected):
                raise AssertionError(name)
    assert not (tmp_path / "new").exists()
    assert victim.stat().st_mode & 0o777 == 0o600


def test_where_it_cannot_be_made_there_is_no_lock(tmp_path: Path) -> None:
    """As on a read-only file system, which a test cannot make without rights."""
    with pytest.raises(Unavailable, match="cannot be made: No such file or directory"):
        make_host_lock(tmp_path / "no such folder" / "lock")
