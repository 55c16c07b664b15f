"""Artifacts: who may send and fetch which, and how long they stay (DESIGN decisions 7 and 8).

An artifact that one may not read answers like one that is not there, and an upload always takes all
bytes: neither tells whether somebody else's blob exists.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import msgspec

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.errors import Refused, Unavailable
from edgeproof.contract.jobs import ArtifactInfo
from edgeproof.contract.statements import ForgeConfig, RunLimits, StageConfig
from edgeproof.domain.runs import Lease
from edgeproof.server.db.database import Connection, lock
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import require
from edgeproof.server.storage.artifact_store import ArtifactStore, Received

_logger = logging.getLogger(__name__)

# Reaped or claimed again is stale; merely past its expiry is not (DESIGN decision 6). Until commit nobody
# ends the lease, for that takes the row FOR UPDATE; heartbeats go on, however long the store takes.
_HELD_RUN: Final = """
SELECT runs.config, runs.limits FROM run_queue JOIN runs USING (run_id)
WHERE run_id = $1 AND state = 'CLAIMED' AND runner_id = $2 AND attempt = $3 AND lease_digest = $4
FOR KEY SHARE OF run_queue
"""
_KEEP: Final = """
INSERT INTO artifacts (digest, size, expires_at) VALUES ($1, $2, clock_timestamp() + $3::interval)
ON CONFLICT (digest) DO UPDATE SET expires_at = excluded.expires_at WHERE artifacts.expires_at IS NOT NULL
"""
_UPLOADED: Final = "INSERT INTO uploads (principal_id, digest) VALUES ($1, $2) ON CONFLICT DO NOTHING"
_IS_MINE: Final = "SELECT EXISTS (SELECT FROM uploads WHERE principal_id = $1 AND digest = $2)"
_UNNAMED_BYTES: Final = """
SELECT coalesce(sum(size), 0)::bigint FROM artifacts JOIN uploads USING (digest)
WHERE principal_id = $1 AND expires_at IS NOT NULL
"""
_USER_MAY_READ: Final = """
SELECT EXISTS (SELECT FROM uploads WHERE principal_id = $1 AND digest = $2)
    OR EXISTS (SELECT FROM job_artifacts JOIN jobs USING (job_id) WHERE owner_id = $1 AND digest = $2)
"""
# Not as one join: thousands of jobs name the same model, and the first that is found is enough.
_USER_MAY_NOT_READ: Final = """
SELECT digest FROM unnest($2::text[]) WITH ORDINALITY AS asked (digest, place)
WHERE CASE
    WHEN EXISTS (SELECT FROM uploads u WHERE u.principal_id = $1 AND u.digest = asked.digest) THEN false
    ELSE (
        SELECT true FROM job_artifacts a JOIN jobs USING (job_id)
        WHERE owner_id = $1 AND a.digest = asked.digest LIMIT 1
    ) IS NULL
END
ORDER BY place
"""
_WORKER_MAY_READ: Final = """
SELECT EXISTS (
    SELECT FROM job_artifacts JOIN jobs USING (job_id)
    WHERE digest = $2 AND role = 'input' AND status IN ('queued', 'running')
        AND input_summary #>> '{options,adapter}' = 'external'
        AND coalesce(input_summary #>> '{options,worker}', $1) = $1
)
"""
_REFERENCE: Final = "UPDATE artifacts SET expires_at = NULL WHERE digest = $1 RETURNING digest"
_GRANT: Final = "INSERT INTO job_artifacts (job_id, digest, role) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_EXPIRED: Final = "SELECT digest FROM artifacts WHERE expires_at < clock_timestamp() LIMIT 1000"
_EXPIRE: Final = """
DELETE FROM artifacts WHERE digest = $1 AND expires_at < clock_timestamp()
    AND NOT EXISTS (SELECT FROM job_artifacts WHERE digest = $1)
RETURNING digest
"""
# One that may still be under way is not begun again: whichever ended first would end both.
_BEGIN_DELETION: Final = """
INSERT INTO artifact_deletions AS d (digest) VALUES ($1)
ON CONFLICT (digest) DO UPDATE SET began_at = excluded.began_at
    WHERE d.began_at < clock_timestamp() - make_interval(secs => $2)
RETURNING began_at
"""
_END_DELETION: Final = "DELETE FROM artifact_deletions WHERE digest = $1 AND began_at = $2"
_OLD_DELETION: Final = """
SELECT began_at < clock_timestamp() - make_interval(secs => $2) FROM artifact_deletions WHERE digest = $1
"""
_FORGET_DELETION: Final = "DELETE FROM artifact_deletions WHERE digest = $1"
_FORGET_OLD_DELETIONS: Final = """
DELETE FROM artifact_deletions WHERE began_at < clock_timestamp() - make_interval(secs => $1)
"""

_IS_KEPT: Final = "SELECT EXISTS (SELECT FROM artifacts WHERE digest = $1 AND body IS NULL)"
_BODY: Final = "SELECT body FROM artifacts WHERE digest = $1 AND body IS NOT NULL"
_KEEP_HERE: Final = """
INSERT INTO artifacts (digest, size, body, expires_at)
VALUES ($1, length($2::bytea), $2, clock_timestamp() + $3::interval)
ON CONFLICT (digest) DO UPDATE SET expires_at = excluded.expires_at WHERE artifacts.expires_at IS NOT NULL
"""

MOST_KEPT_HERE: Final = 256 << 10
"""Documents up to this many bytes lie in the database: they become durable with what names them, at the cost
of no file and no wait for the disk of their own."""
DELETE_SECONDS: Final = 30.0
"""How long the store is asked to delete something before that is given up."""
LONGEST_DELETION_SECONDS: Final = 120.0
"""How long after it began a deletion may still take effect, also one that was given up or whose process was
killed: the store may have the request and take its time."""


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """An artifact that the caller may read; ``size`` in bytes. ``body`` is a document of the database's."""

    digest: str
    size: int
    store: ArtifactStore
    body: bytes | None = None

    def read(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Bytes ``start`` up to, not including, ``end``. Raises ``range_not_satisfiable`` at once."""
        stop = self.size if end is None else end
        if not 0 <= start <= stop <= self.size or (start == stop and self.size > 0):
            raise Refused("range_not_satisfiable", f"the artifact has {self.size} bytes")
        if self.body is not None:
            return _slice(self.body, start, stop)
        return self.store.read(self.digest, start, stop)


async def _slice(body: bytes, start: int, stop: int) -> AsyncIterator[bytes]:
    if start < stop:
        yield body[start:stop]


async def put_artifact(
    plane: ControlPlane,
    principal: Principal,
    digest: str,
    chunks: AsyncIterator[bytes],
    *,
    run_id: str | None = None,
    lease: Lease | None = None,
) -> ArtifactInfo:
    """Store ``chunks`` under ``digest``; a runner does so under the lease of a run that it holds.

    Raises ``Refused`` (``artifact_digest_mismatch``, ``body_too_large``, ``quota_exceeded``, ``stale_lease``,
    ``forbidden``) or ``Unavailable`` (``disk_full``, ``unavailable``), and what ``chunks`` raises. Then
    nothing is stored.
    """
    limit = await upload_limit(plane, principal, run_id, lease)
    async with plane.artifacts.receive(chunks, max_bytes=limit) as received:
        return await take_in(plane, principal, digest, received, run_id, lease)


async def upload_limit(
    plane: ControlPlane, principal: Principal, run_id: str | None, lease: Lease | None
) -> int:
    """How many bytes the caller may send now. Raises ``stale_lease``, ``forbidden``, ``quota_exceeded``."""
    require(principal, "user", "runner")
    limit = plane.settings.max_artifact_bytes
    async with plane.database.transaction() as connection:
        if principal.kind == "runner":
            _, limits = await _held_run(connection, principal, run_id, lease)
            limit = min(limit, limits.max_upload_bytes)
        await _demand_room(plane, connection, principal, 0)
    return limit


async def take_in(
    plane: ControlPlane,
    principal: Principal,
    digest: str,
    received: Received,
    run_id: str | None,
    lease: Lease | None,
) -> ArtifactInfo:
    """Keep what arrived, if it is what it was said to be and the caller may still bring it."""
    if received.digest != digest:
        raise Refused("artifact_digest_mismatch", f"the bytes are sha256:{received.digest}")
    async with plane.keeping, plane.database.transaction() as connection:
        if principal.kind == "runner":
            # Again, and held until commit: the lease may have been lost while the bytes arrived.
            await _held_run(connection, principal, run_id, lease)
        # One at a time for each principal, so that two uploads cannot both find the same room.
        await lock(connection, f"quota:{principal.principal_id}")
        if not await connection.fetchval(_IS_MINE, principal.principal_id, digest):
            await _demand_room(plane, connection, principal, received.size)
        await _keep(plane, connection, received)
        await connection.execute(_UPLOADED, principal.principal_id, digest)
    return ArtifactInfo(digest=digest, size=received.size)


async def open_artifact(
    plane: ControlPlane,
    principal: Principal,
    digest: str,
    *,
    run_id: str | None = None,
    lease: Lease | None = None,
) -> StoredArtifact:
    """Raises ``Refused``: ``not_found`` also for what the caller may not read; ``artifact_lost`` for what may
    be read and the store has no more; ``stale_lease``."""
    async with plane.database.transaction() as connection:
        if principal.kind == "runner":
            config, _ = await _held_run(connection, principal, run_id, lease)
            allowed = digest in named_digests(config)
        else:
            allowed = await may_read(connection, principal, digest)
        body: bytes | None = await connection.fetchval(_BODY, digest) if allowed else None
    if body is not None:
        return StoredArtifact(digest, len(body), plane.artifacts, body)
    if not allowed:
        raise Refused("not_found")
    return StoredArtifact(digest, await _stored_size(plane, digest), plane.artifacts)


async def _stored_size(plane: ControlPlane, digest: str) -> int:
    size = await plane.artifacts.size(digest)
    if size is None:
        if not await plane.database.pool.fetchval(_IS_KEPT, digest):
            raise Refused("not_found")
        # Again: it may have expired and been sent anew between the two questions.
        size = await plane.artifacts.size(digest)
    if size is None:
        _logger.error("the store has lost sha256:%s", digest)
        raise Refused("artifact_lost", f"the store has lost sha256:{digest}")
    return size


@asynccontextmanager
async def keeping_transaction(plane: ControlPlane, size: int) -> AsyncIterator[Connection]:
    """A transaction in which documents of up to ``size`` bytes are kept: one of few at once, if the store is
    to have them."""
    if size <= MOST_KEPT_HERE:
        async with plane.database.transaction() as connection:
            yield connection
    else:
        async with plane.keeping, plane.database.transaction() as connection:
            yield connection


async def keep_bytes(plane: ControlPlane, connection: Connection, data: bytes) -> str:
    """Keep a document of the control plane's own; its digest. It expires unless a job refers to it.

    A large one takes the store's time while ``connection`` is held: ``keeping_transaction``.
    """
    if len(data) <= MOST_KEPT_HERE:
        digest = sha256_hex(data)
        lifetime = timedelta(seconds=plane.settings.artifact_ttl_seconds)
        await connection.execute(_KEEP_HERE, digest, data, lifetime)
        return digest

    async def once() -> AsyncIterator[bytes]:
        yield data

    async with plane.artifacts.receive(once(), max_bytes=len(data)) as received:
        await _keep(plane, connection, received)
        return received.digest


async def may_read(connection: Connection, principal: Principal, digest: str) -> bool:
    """Whether a user uploaded the artifact or owns a job that names it, or an active job that an external
    worker may answer names it as an input; nobody else's rights count here."""
    rights = {"user": _USER_MAY_READ, "external": _WORKER_MAY_READ}.get(principal.kind)
    if rights is None:
        return False
    allowed: bool = await connection.fetchval(rights, principal.principal_id, digest)
    return allowed


async def unreadable(connection: Connection, principal: Principal, digests: Sequence[str]) -> list[str]:
    """Those of ``digests`` that ``may_read`` denies, in their order."""
    if principal.kind != "user":
        return list(digests)
    denied = await connection.fetch(_USER_MAY_NOT_READ, principal.principal_id, digests)
    return [row["digest"] for row in denied]


async def refer_to_artifact(connection: Connection, job_id: str, digest: str, role: str) -> None:
    """Tie an artifact to a job: it stays, and the job's owner may read it. Repeating it is harmless.

    Whether the caller may name it is ``may_read``'s question. Raises ``Refused`` (``artifact_missing``).
    """
    if await connection.fetchval(_REFERENCE, digest) is None:
        raise Refused("artifact_missing", f"there is no artifact sha256:{digest}")
    await connection.execute(_GRANT, job_id, digest, role)


async def expire_artifacts(plane: ControlPlane) -> int:
    """Delete what no job refers to and whose time is up, and what killed uploads left; how many artifacts."""
    await plane.artifacts.sweep(plane.settings.artifact_ttl_seconds)
    await plane.database.pool.execute(_FORGET_OLD_DELETIONS, LONGEST_DELETION_SECONDS)
    expired = 0
    while rows := await plane.database.pool.fetch(_EXPIRED):
        before = expired
        for row in rows:
            async with plane.database.transaction() as connection:
                gone = await connection.fetchval(_EXPIRE, row["digest"])
            if gone is not None:
                expired += 1
                await forget_orphan(plane, gone)
        if expired == before:
            break
    return expired


async def forget_orphan(plane: ControlPlane, digest: str) -> bool:
    """Delete bytes if no row names them, and not while an upload of the same is about to; whether it did.

    A row's deletion must be durable before: a crash may leave bytes without a row, never the reverse. That
    the store is asked is durable, too: the lock goes with its connection, a request under way does not.
    Raises ``Unavailable``; then the bytes may still go, and nobody keeps them again for a while.
    """
    try:
        async with asyncio.timeout(None) as bound, plane.database.transaction() as connection:
            await lock(connection, _lock_name(digest))
            bound.reschedule(asyncio.get_running_loop().time() + DELETE_SECONDS)
            pool = plane.database.pool
            began = await pool.fetchval(_BEGIN_DELETION, digest, LONGEST_DELETION_SECONDS)
            if began is None:
                return False
            # Asked after that, of the connection that has the lock: if it answers, it has had it all along.
            named = await connection.fetchval("SELECT 1 FROM artifacts WHERE digest = $1", digest)
            if named is None:
                await plane.artifacts.delete(digest)
            await pool.execute(_END_DELETION, digest, began)
    except TimeoutError as error:
        raise Unavailable("unavailable", f"the store takes too long to delete sha256:{digest}") from error
    return named is None


def named_digests(config: StageConfig) -> frozenset[str]:
    """The artifacts that a stage's configuration names, and hence its runner may read."""
    if isinstance(config, ForgeConfig):
        named = {config.source, config.calibration}
    else:
        sides = (config.baseline, config.candidate)
        named = {config.dataset, *(one for side in sides for one in (side.artifact, side.build, side.source))}
    return frozenset(one for one in named if one is not None)


async def _held_run(
    connection: Connection, principal: Principal, run_id: str | None, lease: Lease | None
) -> tuple[StageConfig, RunLimits]:
    if run_id is None or lease is None:
        raise Refused("stale_lease", "a runner reads and writes artifacts only under a lease")
    row = await connection.fetchrow(_HELD_RUN, run_id, principal.runner_id, lease.attempt, lease.digest)
    if row is None:
        raise Refused("stale_lease")
    # `StageConfig` is a union: for `convert`'s type checker it is a value, not a type.
    config: StageConfig = msgspec.convert(row["config"], StageConfig)
    return config, msgspec.convert(row["limits"], RunLimits)


async def _demand_room(plane: ControlPlane, connection: Connection, principal: Principal, more: int) -> None:
    quota = plane.settings.upload_quota_bytes
    taken: int = await connection.fetchval(_UNNAMED_BYTES, principal.principal_id)
    if taken + more > quota or (more == 0 and taken >= quota):
        raise Refused(
            "quota_exceeded",
            f"{taken} bytes of yours are named by no job yet, {quota} are allowed; they expire by themselves",
        )


async def _keep(plane: ControlPlane, connection: Connection, received: Received) -> None:
    # Against a concurrent expiry, which would take the bytes away between the two steps here.
    await lock(connection, _lock_name(received.digest))
    await _demand_no_deletion(connection, received.digest)
    lifetime = timedelta(seconds=plane.settings.artifact_ttl_seconds)
    await connection.execute(_KEEP, received.digest, received.size, lifetime)
    await received.keep()


async def _demand_no_deletion(connection: Connection, digest: str) -> None:
    """Under the digest's lock. Raises ``Unavailable`` while the store may still delete what is kept now."""
    old = await connection.fetchval(_OLD_DELETION, digest, LONGEST_DELETION_SECONDS)
    if old is None:
        return
    if not old:
        raise Unavailable("unavailable", "the same bytes are being deleted; send them again in two minutes")
    await connection.execute(_FORGET_DELETION, digest)


def _lock_name(digest: str) -> str:
    return f"artifact:{digest}"
