"""Policies as principals see them: list, show, keep. How they are stored and found is for ``policies``."""

from __future__ import annotations

from typing import Final

import asyncpg

from edgeproof.contract.errors import Refused
from edgeproof.contract.policies import PolicyInfo, PolicyView
from edgeproof.contract.policy import Policy
from edgeproof.lab.inferedge import inferedge_policy
from edgeproof.lab.policies import check_policy
from edgeproof.server.db.times import utc_text
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.policies import add_policy, find_policy
from edgeproof.server.plane.principals import require

_LIST: Final = """
SELECT digest, name, version, added_by, added_at FROM policies ORDER BY name, version DESC LIMIT 10000
"""
_INFO: Final = "SELECT digest, name, version, added_by, added_at FROM policies WHERE digest = $1"


async def list_policies(plane: ControlPlane, principal: Principal) -> tuple[PolicyInfo, ...]:
    """Every policy by name, newest version first. For users and admins."""
    require(principal, "admin", "user")
    return tuple(_info(row) for row in await plane.database.pool.fetch(_LIST))


async def show_policy(plane: ControlPlane, principal: Principal, name_or_digest: str) -> PolicyView:
    """One policy, as ``find_policy`` finds it. For users and admins. Raises ``Refused`` as that does."""
    require(principal, "admin", "user")
    async with plane.database.transaction() as connection:
        policy, digest = await find_policy(connection, name_or_digest)
        row = await connection.fetchrow(_INFO, digest)
    if row is None:
        raise Refused("unknown_policy", f"no policy {name_or_digest!r}")
    return PolicyView(info=_info(row), policy=policy)


async def keep_policy(plane: ControlPlane, principal: Principal, policy: Policy) -> PolicyView:
    """Check a policy and keep it. For admins.

    Raises ``Refused``: ``policy_invalid`` with every violation; ``conflict`` as ``add_policy``.
    """
    require(principal, "admin")
    check_policy(policy)
    if policy.name.startswith(inferedge_policy().name):
        raise Refused("conflict", f"{policy.name} is the name of a policy over unsigned results")
    digest = await add_policy(plane.database, policy, added_by=principal.principal_id)
    return await show_policy(plane, principal, digest)


def _info(row: asyncpg.Record) -> PolicyInfo:
    return PolicyInfo(
        name=row["name"],
        version=row["version"],
        digest=row["digest"],
        added_by=row["added_by"],
        added_at=utc_text(row["added_at"]),
    )
