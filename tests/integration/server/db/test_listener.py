"""Wake-ups over one connection per process, which comes back by itself."""

from __future__ import annotations

import asyncio
import os
import signal

import asyncpg

from edgeproof.server.db.listener import Listener
from edgeproof.server.plane.control_plane import ControlPlane

LISTENERS = "SELECT pid FROM pg_stat_activity WHERE query ILIKE 'LISTEN%' AND datname = current_database()"


async def notify(plane: ControlPlane, channel: str, payload: str = "") -> None:
    await plane.database.pool.execute("SELECT pg_notify($1, $2)", channel, payload)


async def test_every_waiter_of_a_channel_wakes_and_no_other(control_plane: ControlPlane) -> None:
    database = control_plane.database
    async with (
        database.listen("one") as first,
        database.listen("one") as second,
        database.listen("two") as other,
    ):
        await notify(control_plane, "one")
        assert await asyncio.gather(first.wait(10), second.wait(10)) == [True, True]
        assert not await other.wait(0)
        assert not await first.wait(0)


async def test_a_payload_wakes_whoever_awaits_it(control_plane: ControlPlane) -> None:
    database = control_plane.database
    async with database.listen("jobs", "job-1") as mine, database.listen("jobs") as every:
        await notify(control_plane, "jobs", "job-2")
        assert await every.wait(10)
        assert not await mine.wait(0)
        await notify(control_plane, "jobs", "job-1")
        assert await mine.wait(10)


async def test_another_replica_wakes_us(control_plane: ControlPlane, another_replica: ControlPlane) -> None:
    async with control_plane.database.listen("one") as wake_ups:
        await notify(another_replica, "one")
        assert await wake_ups.wait(10)


async def test_all_waiters_share_one_connection(control_plane: ControlPlane) -> None:
    database = control_plane.database
    async with database.listen("one"), database.listen("two"), database.listen("three"):
        assert len(await database.pool.fetch(LISTENERS)) == 1


async def test_a_lost_connection_comes_back_and_wakes_everybody(control_plane: ControlPlane) -> None:
    database = control_plane.database
    async with database.listen("one") as first, database.listen("two") as second:
        for _ in range(2):
            (row,) = await database.pool.fetch(LISTENERS)
            await database.pool.execute("SELECT pg_terminate_backend($1)", row["pid"])
            # Something may have been said meanwhile: everybody is told to look.
            assert await asyncio.gather(first.wait(10), second.wait(10)) == [True, True]
            await notify(control_plane, "two")
            assert await second.wait(10)


async def test_a_connection_that_fell_silent_is_given_up(fresh_dsn: str) -> None:
    """The server's side is stopped: no end of the connection is ever told."""
    listener = Listener(fresh_dsn, probe_seconds=0.05, probe_timeout=0.2)
    connection = await asyncpg.connect(fresh_dsn)
    others = await connection.fetch("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
    try:
        async with listener.subscribe("one") as wake_ups:
            mine = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> ALL($1)"
            (row,) = await connection.fetch(mine, [other["pid"] for other in others])
            os.kill(row["pid"], signal.SIGSTOP)
            try:
                assert await wake_ups.wait(20), "told to look, over a connection that works"
                await connection.execute("SELECT pg_notify('one', '')")
                assert await wake_ups.wait(20)
            finally:
                os.kill(row["pid"], signal.SIGCONT)
    finally:
        await listener.close()
        await connection.close()


async def test_closing_leaves_no_connection(
    control_plane: ControlPlane, another_replica: ControlPlane
) -> None:
    async with another_replica.database.listen("one") as wake_ups:
        waiting = asyncio.create_task(wake_ups.wait(0.05))
        await another_replica.close()
        assert not await waiting
    assert another_replica.stopping.is_set()
    assert await control_plane.database.pool.fetch(LISTENERS) == []
