"""Which runner fits which class, kept when either changes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.jobs import JobError
from edgeproof.contract.runners import Capabilities, Needs
from edgeproof.server.db.database import lock
from edgeproof.server.fleet.requirements import CLASSES_LOCK, class_of
from edgeproof.server.fleet.runner_keys import allow_key, rotate_key
from edgeproof.server.fleet.standing import count_strike
from edgeproof.server.plane.control_plane import ControlPlane, Principal

SMALL = Needs(stage="forge", backend="onnxruntime", target="cpu", precisions=("fp32",))
# Shorter than the server takes to find a deadlock and end either side of it.
IMPATIENT = "SET LOCAL lock_timeout = '500ms'"
LARGE = msgspec.structs.replace(SMALL, min_memory_bytes=1 << 50)


async def class_id_of(plane: ControlPlane, needs: Needs) -> int:
    async with plane.database.transaction() as connection:
        return await class_of(connection, needs)


async def fitting(plane: ControlPlane) -> set[tuple[str, int]]:
    rows = await plane.database.pool.fetch("SELECT runner_id, class_id FROM runner_classes")
    return {(row["runner_id"], row["class_id"]) for row in rows}


async def test_equal_needs_are_one_class_also_at_once(control_plane: ControlPlane) -> None:
    spelled = msgspec.structs.replace(SMALL, precisions=("fp32", "fp32"))
    ids = await asyncio.gather(*(class_id_of(control_plane, one) for one in [SMALL, spelled] * 4))
    assert len(set(ids)) == 1
    assert await class_id_of(control_plane, LARGE) not in ids


async def test_a_new_class_finds_the_runners_that_fit(control_plane: ControlPlane, runner: Principal) -> None:
    small = await class_id_of(control_plane, SMALL)
    await class_id_of(control_plane, LARGE)
    assert await fitting(control_plane) == {(runner.principal_id, small)}


async def test_registering_again_matches_the_new_capabilities(
    control_plane: ControlPlane, admin: Principal, device: Any
) -> None:
    small, large = await class_id_of(control_plane, SMALL), await class_id_of(control_plane, LARGE)
    await allow_key(control_plane, admin, device.key.public)
    runner_id = (await device.register(control_plane)).runner_id
    assert await fitting(control_plane) == {(runner_id, small)}
    grown: Capabilities = msgspec.structs.replace(device.capabilities, memory_bytes=1 << 51)
    await device.__class__(device.key, device.public_url, device.server_keyid, grown).register(control_plane)
    assert await fitting(control_plane) == {(runner_id, small), (runner_id, large)}
    shrunk: Capabilities = msgspec.structs.replace(device.capabilities, toolchains=())
    await device.__class__(device.key, device.public_url, device.server_keyid, shrunk).register(control_plane)
    assert await fitting(control_plane) == set()


@pytest.mark.parametrize("round_", range(3))
async def test_a_class_and_a_runner_new_at_once_find_each_other(
    control_plane: ControlPlane, another_replica: ControlPlane, admin: Principal, device: Any, round_: int
) -> None:
    await allow_key(control_plane, admin, device.key.public)
    registered, *ids = await asyncio.gather(
        device.register(another_replica),
        *(
            class_id_of(control_plane, msgspec.structs.replace(SMALL, min_memory_bytes=size))
            for size in range(8)
        ),
    )
    assert await fitting(control_plane) == {(registered.runner_id, one) for one in ids}


@pytest.mark.parametrize("rotated", [False, True])
async def test_a_new_class_does_not_wait_for_a_registration_that_waits_for_it(
    control_plane: ControlPlane, another_replica: ControlPlane, admin: Principal, device: Any, rotated: bool
) -> None:
    await allow_key(control_plane, admin, device.key.public)
    runner_id = (await device.register(control_plane)).runner_id
    if rotated:
        new = SigningKey.generate()
        await rotate_key(control_plane, admin, device.key.public, new.public, 60)
        device = replace(device, key=new)
    else:
        device = replace(device, capabilities=msgspec.structs.replace(device.capabilities, cpu_count=3))
    async with control_plane.database.transaction() as connection:
        await connection.execute(IMPATIENT)
        await lock(connection, CLASSES_LOCK)
        registering = asyncio.create_task(device.register(another_replica))
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        async with asyncio.timeout(20):
            while not await connection.fetchval(waiting):
                await asyncio.sleep(0.01)
        small = await class_of(connection, SMALL)
    assert (await registering).runner_id == runner_id
    assert await fitting(control_plane) == {(runner_id, small)}
    assert await control_plane.database.pool.fetchval("SELECT public_key FROM runners") == (
        device.key.public.base64
    )


async def test_who_registers_again_unchanged_waits_for_nobody_who_adds_a_class(
    control_plane: ControlPlane, another_replica: ControlPlane, admin: Principal, device: Any
) -> None:
    await allow_key(control_plane, admin, device.key.public)
    runner_id = (await device.register(control_plane)).runner_id
    async with control_plane.database.transaction() as connection:
        await lock(connection, CLASSES_LOCK)
        async with asyncio.timeout(20):
            assert (await device.register(another_replica)).runner_id == runner_id
        small = await class_of(connection, SMALL)
        async with asyncio.timeout(20):
            await device.register(another_replica)
    await device.register(another_replica)
    assert await fitting(control_plane) == {(runner_id, small)}


async def test_a_new_class_does_not_wait_for_a_strike(
    control_plane: ControlPlane, another_replica: ControlPlane, runner: Principal
) -> None:
    """Who counts the strike then waits for the run's job, which who adds the class may hold."""
    async with another_replica.database.transaction() as connection:
        error = JobError(code="lease_expired", message="lost", stage="forge")
        await count_strike(another_replica, connection, runner.principal_id, error)
        async with control_plane.database.transaction() as adding:
            await adding.execute(IMPATIENT)
            small = await class_of(adding, SMALL)
    assert await fitting(control_plane) == {(runner.principal_id, small)}
