"""What every use case is given: database, artifacts, keys, settings and the caller. It holds no rule."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from edgeproof.contract.statements import RunLimits
from edgeproof.server.db.database import Database
from edgeproof.server.migrations import migrate
from edgeproof.server.plane.gathering import Gathering
from edgeproof.server.plane.keys import ServerKeys, load_keys
from edgeproof.server.plane.meters import Meters
from edgeproof.server.plane.policies import ensure_builtin_policies
from edgeproof.server.plane.shared_answer import SharedAnswer
from edgeproof.server.storage.artifact_store import ArtifactStore
from edgeproof.server.storage.local_artifacts import LocalArtifacts

PrincipalKind = Literal["admin", "user", "runner", "external"]

JUDGES: Final = 2
KEEPERS: Final = 4
DEFAULT_LIMITS = RunLimits(max_seconds=600, max_memory_bytes=2 << 30, max_upload_bytes=512 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``public_url`` is what runners dial and sign; times are in seconds, sizes in bytes.

    ``stage_lease_seconds`` are the stages whose leases last otherwise. After ``quarantine_after`` runs in a
    row that its own trouble ended a runner gets no more work; 0: never. ``gauges_kept_seconds`` is how old
    the metrics' figures of the queue may be. ``dev`` lets users complete jobs by hand.
    """

    public_url: str
    lease_seconds: float = 90
    stage_lease_seconds: Mapping[str, float] = field(default_factory=dict)
    heartbeat_seconds: float = 30
    quarantine_after: int = 5
    max_attempts: int = 3
    reap_interval_seconds: float = 1
    default_limits: RunLimits = DEFAULT_LIMITS
    max_artifact_bytes: int = 2 << 30
    artifact_ttl_seconds: float = 86_400
    events_kept_seconds: float = 30 * 86_400
    idempotency_kept_seconds: float = 7 * 86_400
    upload_quota_bytes: int = 64 << 30
    metrics_open: bool = False
    gauges_kept_seconds: float = 5
    dev: bool = False

    def lease_of(self, stage: str) -> float:
        """Seconds that a lease on a run of ``stage`` lasts without a heartbeat."""
        return self.stage_lease_seconds.get(stage, self.lease_seconds)

    def longest_lease(self) -> float:
        return max([self.lease_seconds, *self.stage_lease_seconds.values()])


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. ``runner_id`` and ``public_key`` (base64) are set for runners and only for them."""

    principal_id: str
    kind: PrincipalKind
    runner_id: str | None = None
    public_key: str | None = None


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """One replica. ``stopping`` ends every long poll and stream.

    ``judging`` bounds how many decisions are made at once: each holds a connection and a processor, and
    heartbeats must always find both. ``keeping`` bounds how many hold a connection while the artifact store
    keeps something: a store that stalls shall not stall everything else. It is taken before the connection,
    never after. Calls of runners that come one by one go together where that serves them: their keys are
    looked up (``tokens``), then claims (``arrivals``, ``grants``), heartbeats (``beats``) and results
    (``deliveries``). ``waiting_claims`` are the numbers of the claims that wait here, by their
    runners' keys.
    """

    database: Database
    artifacts: ArtifactStore
    keys: ServerKeys
    settings: Settings
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    meters: Meters = field(default_factory=Meters)
    judging: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(JUDGES))
    keeping: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(KEEPERS))
    tokens: Gathering[Any, Any] = field(default_factory=Gathering)
    arrivals: Gathering[Any, Any] = field(default_factory=Gathering)
    grants: Gathering[Any, Any] = field(default_factory=Gathering)
    beats: Gathering[Any, Any] = field(default_factory=Gathering)
    deliveries: Gathering[Any, Any] = field(default_factory=Gathering)
    waiting_claims: dict[str, list[int]] = field(default_factory=dict)
    figures: SharedAnswer[Any] = field(default_factory=SharedAnswer)
    readiness: SharedAnswer[bool] = field(default_factory=SharedAnswer)

    async def close(self) -> None:
        """End all waiting, then let go of the database. Nothing depends on its being called."""
        self.stopping.set()
        await self.database.close()


async def open_control_plane(dsn: str, artifacts: Path | ArtifactStore, settings: Settings) -> ControlPlane:
    """Migrate the database, make or load the keys, keep the built-in policies, open the artifact folder.

    Raises ``OSError`` or ``asyncpg.PostgresError`` when the database or the folder cannot be used.
    """
    await migrate(dsn)
    database = await Database.open(dsn)
    try:
        keys = await load_keys(database)
        await ensure_builtin_policies(database)
        store = LocalArtifacts(artifacts) if isinstance(artifacts, Path) else artifacts
        return ControlPlane(database, store, keys, settings)
    except BaseException:
        await database.close()
        raise
