"""Policies by name and by digest."""

from __future__ import annotations

import msgspec
import pytest

from edgeproof.contract.canonical import digest_of
from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import Policy
from edgeproof.lab.policies import default_policy
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.server.plane.policies import add_policy, ensure_builtin_policies, find_policy


async def find(plane: ControlPlane, name: str) -> tuple[Policy, str]:
    async with plane.database.transaction() as connection:
        return await find_policy(connection, name)


async def test_the_built_in_policy_is_there_under_its_name_and_digest(control_plane: ControlPlane) -> None:
    await ensure_builtin_policies(control_plane.database)
    digest = digest_of(default_policy())
    for name in ("edgeproof-default", digest, f"sha256:{digest}"):
        assert await find(control_plane, name) == (default_policy(), digest)


async def test_a_name_is_its_newest_version(control_plane: ControlPlane) -> None:
    newer = msgspec.structs.replace(default_policy(), version=default_policy().version + 9)
    digest = await add_policy(control_plane.database, newer, added_by="operator")
    assert await add_policy(control_plane.database, newer, added_by="operator") == digest
    assert await find(control_plane, "edgeproof-default") == (newer, digest)
    assert (await find(control_plane, digest_of(default_policy())))[0] == default_policy()


async def test_one_version_has_one_content(control_plane: ControlPlane) -> None:
    other = msgspec.structs.replace(default_policy(), rules=default_policy().rules[:1])
    with pytest.raises(Refused) as refused:
        await add_policy(control_plane.database, other, added_by="operator")
    assert refused.value.code == "conflict"
    assert (await find(control_plane, "edgeproof-default"))[0] == default_policy()


@pytest.mark.parametrize("name", ["", "nobody-wrote-it", "0" * 64, "sha256:" + "0" * 64])
async def test_an_unknown_policy_is_said(control_plane: ControlPlane, name: str) -> None:
    with pytest.raises(Refused) as refused:
        await find(control_plane, name)
    assert refused.value.code == "unknown_policy"
