"""The operator's policies, kept by digest (DESIGN decision 12). What a policy means is the lab's affair."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import asyncpg

from edgeproof.contract.canonical import canonical, decode_canonical, sha256_hex
from edgeproof.contract.errors import Refused
from edgeproof.contract.ids import digest_of_uri
from edgeproof.contract.policy import Policy
from edgeproof.lab.policies import default_policy
from edgeproof.server.db.database import Connection, Database
from edgeproof.server.plane.audit_log import CONTROL_PLANE, record

ITSELF: Final = "edgeproof"
"""Who added the policies that come with it."""

_ADD: Final = """
INSERT INTO policies (digest, name, version, body, added_by) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (digest) DO NOTHING RETURNING digest
"""
_FIND: Final = """
SELECT digest, body FROM policies WHERE digest = $1 OR name = $2
ORDER BY digest = $1 DESC, version DESC LIMIT 1
"""
_TAKEN: Final = "SELECT 1 FROM policies WHERE name = $1 AND version = $2 AND digest <> $3"


async def ensure_builtin_policies(database: Database) -> None:
    """Keep the policies that come with Edgeproof, for requests that name none."""
    await add_policy(database, default_policy(), added_by=ITSELF)


async def add_policy(database: Database, policy: Policy, *, added_by: str) -> str:
    """Keep a policy; its digest. The same one again changes nothing. ``added_by`` is a principal's id.

    Raises ``Refused`` (``conflict``) when that name and version stand for another one.
    """
    body = canonical(policy)
    digest = sha256_hex(body)
    try:
        async with database.transaction() as connection:
            new = await connection.fetchval(_ADD, digest, policy.name, policy.version, body, added_by)
            if new is not None:
                actor = CONTROL_PLANE if added_by == ITSELF else added_by
                told = {"name": policy.name, "version": policy.version}
                await record(connection, actor, "policy.added", digest, told)
    except asyncpg.UniqueViolationError as error:
        raise Refused(
            "conflict", f"policy {policy.name} version {policy.version} exists with other content"
        ) from error
    return digest


async def find_policy(connection: Connection, name_or_digest: str) -> tuple[Policy, str]:
    """A policy by ``sha256:<hex>`` or bare digest, or the newest version of a name.

    Raises ``Refused`` (``unknown_policy``).
    """
    row = await connection.fetchrow(_FIND, digest_of_uri(name_or_digest) or name_or_digest, name_or_digest)
    if row is None:
        raise Refused("unknown_policy", f"no policy {name_or_digest!r}")
    return _read(row["body"]), row["digest"]


@lru_cache(maxsize=64)
def _read(body: bytes) -> Policy:
    """Every analysis names one of a few, and to check that bytes are canonical takes its time."""
    return decode_canonical(body, Policy, what="policy")


async def demand_own_name(connection: Connection, policy: Policy, digest: str) -> None:
    """A policy that is not kept may not go by a kept one's name and version: reports show those.

    Raises ``Refused`` (``policy_not_allowed``).
    """
    if await connection.fetchval(_TAKEN, policy.name, policy.version, digest) is not None:
        raise Refused(
            "policy_not_allowed",
            f"the operator's {policy.name} version {policy.version} is another policy: name yours otherwise",
        )
