"""Which runner fits which class, kept when either changes."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from edgeproof.contract.runners import Capabilities, Needs
from edgeproof.server.fleet.requirements import class_of
from edgeproof.server.fleet.runner_keys import allow_key
from edgeproof.server.plane.control_plane import ControlPlane, Principal

SMALL = Needs(stage="forge", backend="onnxruntime", target="cpu", precisions=("fp32",))
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
