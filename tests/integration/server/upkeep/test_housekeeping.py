"""Tidying up: what nobody names goes, what evidence names stays, whatever happens in which order."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeproof.contract.errors import Refused
from edgeproof.server.artifacts.artifacts import (
    expire_artifacts,
    keep_bytes,
    open_artifact,
    put_artifact,
    refer_to_artifact,
)
from edgeproof.server.plane.control_plane import ControlPlane, Principal, Settings, open_control_plane
from edgeproof.server.plane.principals import authenticate, create_principal
from edgeproof.server.upkeep.housekeeping import (
    CHORES,
    do_chores,
    forget_events,
    forget_keys,
    forget_orphans,
)

SIZE = 300 << 10
"""Too large for the database: such bytes lie in the store."""


def data_of(number: int) -> bytes:
    return number.to_bytes(8, "big") * (SIZE // 8)


def digest_of(number: int) -> str:
    return hashlib.sha256(data_of(number)).hexdigest()


async def chunks_of(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def job_of(plane: ControlPlane, owner: Principal, job_id: str, status: str = "queued") -> str:
    await plane.database.pool.execute(
        "INSERT INTO jobs (job_id, owner_id, workflow, status, input_summary, policy_digest)"
        " VALUES ($1, $2, 'analyze', $3, '{}', '')",
        job_id,
        owner.principal_id,
        status,
    )
    return job_id


async def expire_all(plane: ControlPlane) -> None:
    await plane.database.pool.execute(
        "UPDATE artifacts SET expires_at = clock_timestamp() - interval '1 s' WHERE expires_at IS NOT NULL"
    )


async def there(plane: ControlPlane) -> set[str]:
    return {digest async for digest in plane.artifacts.kept()}


async def orphan(plane: ControlPlane, data: bytes) -> None:
    """What a crash between keeping and committing leaves."""
    async with plane.artifacts.receive(chunks_of(data), max_bytes=len(data)) as received:
        await received.keep()


async def test_bytes_without_a_row_are_swept_and_all_else_stays(
    control_plane: ControlPlane, user: Principal
) -> None:
    await put_artifact(control_plane, user, digest_of(1), chunks_of(data_of(1)))
    for number in range(2, 5):
        await orphan(control_plane, data_of(number))
    assert await forget_orphans(control_plane) == 3
    assert await there(control_plane) == {digest_of(1)}
    assert await forget_orphans(control_plane) == 0


async def test_one_that_cannot_be_removed_keeps_no_other(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1, 4):
        await orphan(control_plane, data_of(number))
    first = await anext(control_plane.artifacts.kept())
    delete = control_plane.artifacts.delete

    async def refuse_first(digest: str) -> None:
        if digest == first:
            raise PermissionError(digest)
        await delete(digest)

    monkeypatch.setattr(control_plane.artifacts, "delete", refuse_first)
    assert await forget_orphans(control_plane) == 2
    assert await there(control_plane) == {first}
    assert first in caplog.text


async def test_bytes_whose_row_is_about_to_be_committed_are_no_orphan(control_plane: ControlPlane) -> None:
    async with control_plane.database.transaction() as connection:
        digest = await keep_bytes(control_plane, connection, data_of(1))
        sweeping = asyncio.create_task(forget_orphans(control_plane))
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        async with asyncio.timeout(20):
            while not await connection.fetchval(waiting):
                await asyncio.sleep(0.01)
    assert await sweeping == 0
    assert await there(control_plane) == {digest}


async def add_event(plane: ControlPlane, job_id: str, seq: int, type_: str, days: int) -> None:
    await plane.database.pool.execute(
        "INSERT INTO job_events (job_id, seq, type, data, at)"
        " VALUES ($1, $2, $3, '{}', clock_timestamp() - make_interval(days => $4))",
        job_id,
        seq,
        type_,
        days,
    )


async def test_old_events_of_ended_jobs_go_but_for_their_status(
    control_plane: ControlPlane, user: Principal
) -> None:
    for status in ("completed", "running"):
        job = await job_of(control_plane, user, status, status)
        for seq, (type_, days) in enumerate(
            [("status", 40), ("progress", 40), ("log", 31), ("artifact", 29), ("status", 1)], start=1
        ):
            await add_event(control_plane, job, seq, type_, days)
    assert await forget_events(control_plane) == 2
    rows = await control_plane.database.pool.fetch("SELECT job_id, seq FROM job_events ORDER BY 1, 2")
    left = [(row["job_id"], row["seq"]) for row in rows]
    assert left == [("completed", seq) for seq in (1, 4, 5)] + [("running", seq) for seq in range(1, 6)]


async def test_old_idempotency_keys_and_nonces_go(control_plane: ControlPlane, user: Principal) -> None:
    job = await job_of(control_plane, user, "job")
    for key, days in (("old", 8), ("young", 6)):
        await control_plane.database.pool.execute(
            "INSERT INTO idempotency (owner_id, key, request_digest, job_id, created_at)"
            " VALUES ('u', $1, '', $2, clock_timestamp() - make_interval(days => $3))",
            key,
            job,
            days,
        )
        await control_plane.database.pool.execute(
            "INSERT INTO spent_nonces VALUES ($1, clock_timestamp() + make_interval(days => 7 - $2))",
            key,
            days,
        )
    assert await forget_keys(control_plane) == 2
    assert await control_plane.database.pool.fetchval("SELECT key FROM idempotency") == "young"
    assert await control_plane.database.pool.fetchval("SELECT nonce_digest FROM spent_nonces") == "young"


async def test_one_replica_does_a_chore_at_its_time(
    control_plane: ControlPlane, another_replica: ControlPlane
) -> None:
    began = "SELECT array_agg(began_at ORDER BY name) FROM chores"
    await asyncio.gather(do_chores(control_plane), do_chores(another_replica))
    first = await control_plane.database.pool.fetchval(began)
    assert len(first) == len(CHORES)
    await orphan(control_plane, data_of(1))
    await do_chores(another_replica)
    assert await control_plane.database.pool.fetchval(began) == first
    assert await there(control_plane) == {digest_of(1)}
    await control_plane.database.pool.execute("UPDATE chores SET began_at = began_at - interval '1 day'")
    await asyncio.gather(do_chores(control_plane), do_chores(another_replica))
    assert await there(control_plane) == set()


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["upload", "name", "orphan", "time", "expire", "sweep"]), st.integers(0, 1)),
    min_size=6,
    max_size=20,
)


def test_whatever_happens_what_a_job_names_is_there(
    fresh_dsn: str, tmp_path: Path, settings_: Settings
) -> None:
    """Uploads, jobs that name them, crashes, the passing of time and both sweeps, alone and at once."""
    with asyncio.Runner() as runner:
        plane = runner.run(open_control_plane(fresh_dsn, tmp_path / "artifacts", settings_))
        world = runner.run(World.make(plane))
        try:

            @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
            @given(steps=STEPS, at_once=st.booleans())
            def holds(steps: list[Step], at_once: bool) -> None:
                runner.run(world.live(steps, at_once=at_once))

            holds()
            assert len(world.named) > 10
        finally:
            runner.run(plane.close())


@pytest.fixture(name="settings_")
def settings_fixture(settings: Settings) -> Settings:
    return settings


class World:
    """Each example has data of its own; ``named`` are what jobs name, of all examples."""

    def __init__(self, plane: ControlPlane, user: Principal) -> None:
        self._plane = plane
        self._user = user
        self._base = 0
        self.named: set[int] = set()

    @classmethod
    async def make(cls, plane: ControlPlane) -> World:
        return cls(plane, await authenticate(plane, await create_principal(plane, "user", "u")))

    async def live(self, steps: list[Step], *, at_once: bool) -> None:
        self._base += 10
        await self._do(("upload", 0))
        if at_once:
            await asyncio.gather(*(self._do(step) for step in steps))
        else:
            for step in steps:
                await self._do(step)
        for number in self.named:
            stored = await open_artifact(self._plane, self._user, digest_of(number))
            assert stored.size == SIZE
            assert b"".join([block async for block in stored.read()]) == data_of(number)
        await expire_all(self._plane)
        await expire_artifacts(self._plane)
        await forget_orphans(self._plane)
        assert await there(self._plane) == {digest_of(number) for number in self.named}

    async def _do(self, step: Step) -> None:
        what, place = step
        number = self._base + place
        plane: Any = self._plane
        if what == "upload":
            await put_artifact(plane, self._user, digest_of(number), chunks_of(data_of(number)))
        elif what == "name":
            await self._name(number)
        elif what == "orphan":
            await orphan(plane, data_of(number))
        elif what == "time":
            await expire_all(plane)
        elif what == "expire":
            await expire_artifacts(plane)
        else:
            await forget_orphans(plane)

    async def _name(self, number: int) -> None:
        job_id = f"job-{number}"
        try:
            async with self._plane.database.transaction() as connection:
                await connection.execute(
                    "INSERT INTO jobs (job_id, owner_id, workflow, status, input_summary, policy_digest)"
                    " VALUES ($1, $2, 'analyze', 'queued', '{}', '') ON CONFLICT DO NOTHING",
                    job_id,
                    self._user.principal_id,
                )
                await refer_to_artifact(connection, job_id, digest_of(number), "source")
        except Refused as error:
            assert error.code == "artifact_missing"
            assert number not in self.named
        else:
            self.named.add(number)
