"""A store that takes long to keep what arrived: the run goes on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from edgeproof.contract.runners import HeartbeatRequest
from edgeproof.server.db.database import POOL_SIZE
from edgeproof.server.plane.control_plane import KEEPERS
from edgeproof.server.queue.heartbeat import heartbeat
from edgeproof.server.queue.reap import Patience, reap
from edgeproof.server.storage.artifact_store import ArtifactStore, Received

from .conftest import Worker, Yard, lease_of, upload


@dataclass
class SlowlyKept:
    """What arrived, kept only once it may."""

    received: Received
    keeping: asyncio.Event
    may_go_on: asyncio.Event

    @property
    def digest(self) -> str:
        return self.received.digest

    @property
    def size(self) -> int:
        return self.received.size

    async def keep(self) -> None:
        self.keeping.set()
        await self.may_go_on.wait()
        await self.received.keep()


class SlowStore:
    """Another store, but for the time that keeping takes."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self.keeping, self.may_go_on = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @asynccontextmanager
    async def receive(self, chunks: AsyncIterator[bytes], *, max_bytes: int) -> AsyncIterator[SlowlyKept]:
        async with self._store.receive(chunks, max_bytes=max_bytes) as received:
            yield SlowlyKept(received, self.keeping, self.may_go_on)


async def test_heartbeats_go_on_while_the_store_keeps_an_upload_and_nobody_ends_the_lease(yard: Yard) -> None:
    await yard.analyze()
    held = await yard.one.take()
    store = SlowStore(yard.plane.artifacts)
    slow = Worker(replace(yard.plane, artifacts=store), yard.one.principal, yard.one.key)
    made = slow.answer(held)
    uploading = asyncio.create_task(slow.upload(held, made))
    async with asyncio.timeout(20):
        await store.keeping.wait()
        told = await heartbeat(
            yard.plane, yard.one.principal, held.run_id, lease_of(held), HeartbeatRequest()
        )
        assert not told.cancel_requested
        await yard.expire(held.run_id)
        assert await reap(yard.plane, Patience(timedelta(0))) == 0
        store.may_go_on.set()
        await uploading
        assert (await yard.one.submit(held, made.envelope)).state == "COMPLETE"


async def test_a_store_that_stalls_leaves_connections_to_everything_else(yard: Yard) -> None:
    await yard.analyze()
    held = await yard.one.take()
    store = SlowStore(yard.plane.artifacts)
    slow = replace(yard.plane, artifacts=store)
    many = [b"upload %d" % number for number in range(POOL_SIZE + KEEPERS)]
    uploading = [asyncio.create_task(upload(slow, yard.user, data)) for data in many]
    async with asyncio.timeout(20):
        while not (store.keeping.is_set() and slow.keeping.locked()):
            await asyncio.sleep(0.01)
        for _ in range(3):
            told = await heartbeat(
                yard.plane, yard.one.principal, held.run_id, lease_of(held), HeartbeatRequest()
            )
            assert not told.cancel_requested
        store.may_go_on.set()
        assert len(set(await asyncio.gather(*uploading))) == len(many)
