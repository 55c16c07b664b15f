"""The static list of keys: exactly what the replicas that have one say, and nothing said by those without."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from edgeproof.contract.envelope import PublicKey, SigningKey
from edgeproof.contract.errors import Refused
from edgeproof.server.audit.audit import list_entries
from edgeproof.server.fleet.runner_keys import list_keys
from edgeproof.server.fleet.static_keys import keep_static_keys
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import authenticate
from edgeproof.server.queue.revoke import end_unlisted_leases, remove_key

from .conftest import Worker, Yard


async def static(plane: ControlPlane, admin: Principal) -> dict[str, str]:
    """The state of each static key."""
    listed = (await list_keys(plane, admin)).keys
    return {key.public_key: key.state for key in listed if key.source == "static"}


async def test_the_static_list_is_exactly_what_the_configuration_says(yard: Yard, admin: Principal) -> None:
    one, two = SigningKey.generate().public, SigningKey.generate().public
    await keep_static_keys(yard.plane.database, [one, two])
    assert await static(yard.plane, admin) == {one.base64: "good", two.base64: "good"}
    await keep_static_keys(yard.plane.database, [one])
    assert (await static(yard.plane, admin))[two.base64] == "removed"
    await keep_static_keys(yard.plane.database, [one, two])
    assert (await static(yard.plane, admin))[two.base64] == "good"
    # What an admin removed stays removed, whatever the file says.
    await remove_key(yard.plane, admin, one, "stolen")
    await keep_static_keys(yard.plane.database, [one, two])
    assert (await static(yard.plane, admin))[one.base64] == "removed"
    # And what an admin or a token listed is not the file's to take away.
    await keep_static_keys(yard.plane.database, [])
    keys = {key.public_key: key.state for key in (await list_keys(yard.plane, admin)).keys}
    assert keys[yard.one.key.public.base64] == "good"


@pytest.mark.parametrize("since", [None, datetime(2026, 1, 1, tzinfo=UTC)])
async def test_what_an_admin_removes_stays_removed_though_the_file_had_dropped_it(
    yard: Yard, admin: Principal, since: datetime | None
) -> None:
    key = SigningKey.generate().public
    await keep_static_keys(yard.plane.database, [key])
    await keep_static_keys(yard.plane.database, [])
    removed = (await remove_key(yard.plane, admin, key, "stolen", since)).key
    assert (removed.removed_by, removed.reason) == (admin.principal_id, "stolen")
    # A replica that starts with an older file.
    await keep_static_keys(yard.plane.database, [key])
    (shown,) = [one for one in (await list_keys(yard.plane, admin)).keys if one.public_key == key.base64]
    assert shown == removed
    assert shown.state == ("removed" if since is None else "compromised")


async def test_a_replica_without_a_list_leaves_the_static_keys_alone(
    control_plane: ControlPlane, another_replica: ControlPlane, admin: Principal
) -> None:
    one, two = SigningKey.generate().public, SigningKey.generate().public
    await keep_static_keys(control_plane.database, [one, two])
    await keep_static_keys(another_replica.database, None)
    assert await static(control_plane, admin) == {one.base64: "good", two.base64: "good"}
    # One with a list makes it so for all; the others' next start without one changes nothing.
    await keep_static_keys(another_replica.database, [two])
    await keep_static_keys(control_plane.database, None)
    assert await static(control_plane, admin) == {one.base64: "removed", two.base64: "good"}
    # An empty list is one, too.
    await keep_static_keys(another_replica.database, [])
    assert await static(control_plane, admin) == {one.base64: "removed", two.base64: "removed"}


async def test_replicas_that_start_at_once_end_with_one_list(
    control_plane: ControlPlane, another_replica: ControlPlane, admin: Principal
) -> None:
    keys = [SigningKey.generate().public for _ in range(8)]
    lists: list[list[PublicKey]] = [keys, keys[:4], keys[4:], keys[::-1], []]
    replicas = (control_plane, another_replica)
    for _ in range(3):
        await asyncio.gather(*(keep_static_keys(one.database, some) for one in replicas for some in lists))
        good = {key for key, state in (await static(control_plane, admin)).items() if state == "good"}
        assert good in [{key.base64 for key in some} for some in lists]
    await asyncio.gather(*(keep_static_keys(one.database, keys) for one in replicas))
    assert set((await static(control_plane, admin)).values()) == {"good"}


async def test_a_key_that_is_listed_again_finds_work_at_once(
    yard: Yard, admin: Principal, device: Any
) -> None:
    plane, key = yard.plane, device.key.public
    await keep_static_keys(plane.database, [key])
    token = (await device.register(plane)).token
    runner = Worker(plane, await authenticate(plane, token), device.key)
    await keep_static_keys(plane.database, [])
    with pytest.raises(Refused) as refused:
        await authenticate(plane, token)
    assert refused.value.code == "key_not_allowed"
    # What such a run needs is new to the control plane, and this runner is not among those that it knows.
    await yard.analyze()
    assert await runner.claim() is None
    await keep_static_keys(plane.database, [key])
    assert await authenticate(plane, token) == runner.principal
    assert (await runner.take()).attempt == 1
    told = [
        (one.actor, one.act) for one in (await list_entries(plane, admin, subject=key.fingerprint)).entries
    ]
    assert told == [("control-plane", act) for act in ("key.added", "key.removed", "key.added")]


async def test_the_leases_of_a_key_that_left_the_list_end(yard: Yard, admin: Principal, device: Any) -> None:
    plane = yard.plane
    await keep_static_keys(plane.database, [device.key.public])
    principal = await authenticate(plane, (await device.register(plane)).token)
    runner = Worker(plane, principal, device.key)
    await yard.analyze()
    held = await runner.take()
    await keep_static_keys(plane.database, [])
    assert await end_unlisted_leases(plane) == 1
    with pytest.raises(Refused) as refused:
        await runner.submit(held, runner.answer(held).envelope)
    assert refused.value.code == "stale_lease"
    classes = await plane.database.pool.fetchval(
        "SELECT count(*) FROM runner_classes WHERE runner_id = $1", principal.runner_id
    )
    assert classes == 0
