"""External workers: a Forge or Runtime that is not ours, each with a token of its own."""

from __future__ import annotations

import secrets
from typing import Final

from edgeproof.contract.errors import Refused
from edgeproof.contract.worker import WorkerToken, WorkerView
from edgeproof.server.db.rows import Row
from edgeproof.server.db.times import utc_text
from edgeproof.server.plane.audit_log import record
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import require, token_digest

_CREATE: Final = """
INSERT INTO principals (principal_id, kind, name, token_digest) VALUES ($1, 'external', $2, $3)
"""
_LIST: Final = """
SELECT principal_id, name, created_at, revoked_at FROM principals WHERE kind = 'external'
ORDER BY created_at, principal_id
"""
_REVOKE: Final = """
UPDATE principals SET revoked_at = clock_timestamp()
WHERE principal_id = $1 AND kind = 'external' AND revoked_at IS NULL RETURNING principal_id
"""
_FIND: Final = """
SELECT principal_id, name, created_at, revoked_at FROM principals
WHERE principal_id = $1 AND kind = 'external'
"""


async def create_worker(plane: ControlPlane, principal: Principal, name: str) -> WorkerToken:
    """A new worker and its token, shown once: only the token's digest is kept. For admins."""
    require(principal, "admin")
    token = f"edgeproof-external-{secrets.token_urlsafe(32)}"
    worker_id = f"external-{secrets.token_hex(8)}"
    async with plane.database.transaction() as connection:
        await connection.execute(_CREATE, worker_id, name, token_digest(token))
        await record(connection, principal.principal_id, "worker.created", worker_id, {"name": name})
    return WorkerToken(worker_id=worker_id, name=name, token=token)


async def list_workers(plane: ControlPlane, principal: Principal) -> tuple[WorkerView, ...]:
    """Oldest first, revoked ones too. For users, who may name one for their job, and admins."""
    require(principal, "user", "admin")
    return tuple(_view(row) for row in await plane.database.pool.fetch(_LIST))


async def revoke_worker(plane: ControlPlane, principal: Principal, worker_id: str) -> WorkerView:
    """From now on the worker's token is worth nothing. Repeating it changes nothing. For admins.

    Raises ``Refused`` (``not_found``).
    """
    require(principal, "admin")
    async with plane.database.transaction() as connection:
        if await connection.fetchval(_REVOKE, worker_id) is not None:
            await record(connection, principal.principal_id, "worker.revoked", worker_id)
        row = await connection.fetchrow(_FIND, worker_id)
    if row is None:
        raise Refused("not_found", "no such worker")
    return _view(row)


def _view(row: Row) -> WorkerView:
    revoked_at = row["revoked_at"]
    return WorkerView(
        worker_id=row["principal_id"],
        name=row["name"],
        created_at=utc_text(row["created_at"]),
        revoked_at=None if revoked_at is None else utc_text(revoked_at),
    )
