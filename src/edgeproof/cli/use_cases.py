"""What the CLI asks of the composition root: use cases that need more rooms than it may import."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from edgeproof.contract.base import Wire
from edgeproof.contract.jobs import Progress
from edgeproof.contract.statements import NoiseFloor

LogFormat = Literal["text", "json"]


@dataclass(frozen=True, kw_only=True)
class UpOptions:
    """``port`` 0 picks a free one. ``runners`` is how many local runners to start: 0 or 1. ``runner_keys``
    is a file of runner keys, the static allowlist; without it, that list stays as it was.
    ``stage_lease_seconds`` are stages whose leases last otherwise. Bytes, and times in seconds; None leaves
    the control plane its own default.

    With ``parent_pid`` it ends when that process does.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8765
    public_url: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    behind_tls_proxy: bool = False
    runners: int = 1
    lease_seconds: float = 90.0
    heartbeat_seconds: float = 30.0
    stage_lease_seconds: tuple[tuple[str, float], ...] = ()
    quarantine_after: int | None = None
    max_attempts: int | None = None
    upload_quota_bytes: int | None = None
    artifact_ttl_seconds: float | None = None
    events_kept_seconds: float | None = None
    idempotency_kept_seconds: float | None = None
    runner_keys: Path | None = None
    log_format: LogFormat = "text"
    metrics_open: bool = False
    dev: bool = False
    json: bool = False
    parent_pid: int | None = None


@dataclass(frozen=True, kw_only=True)
class RunnerOptions:
    """``server`` is ``URL#sha256:<key>``; without it, the one that was joined. ``token_file`` holds an
    enrolment token. ``only`` are stages or ``stage/backend``. On a wish to stop, a run under way has
    ``drain_seconds`` to finish."""

    home: Path
    server: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    only: tuple[str, ...] = ()
    cache_bytes: int | None = None
    drain_seconds: float = 300.0
    token: str | None = None
    token_file: Path | None = None
    max_runs: int | None = None
    isolation: str | None = None
    ca_file: Path | None = None
    log_format: LogFormat = "text"
    parent_pid: int | None = None


@dataclass(frozen=True, kw_only=True)
class NoiseOptions:
    """``model`` is played against itself; ``threads`` 0 is one for each physical core."""

    model: Path
    home: Path
    threads: int
    batch: int
    on_progress: Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True)
class JoinOptions:
    """``replace`` allows a home that has joined another control plane to leave it."""

    server: str
    home: Path
    token: str | None = None
    ca_file: Path | None = None
    replace: bool = False


class JoinReport(Wire, frozen=True, kw_only=True):
    runner_id: str
    key: str
    server: str
    isolation: str


class RunReport(Wire, frozen=True, kw_only=True):
    """The run that a runner does now."""

    run_id: str
    job_id: str
    stage: str
    attempt: int
    since: str


class RunnerStatusReport(Wire, frozen=True, kw_only=True):
    """``key`` is ``sha256:<hex>`` of ``public_key``, which is base64, as the allowlist takes it; sizes in
    bytes; what only a running runner knows is else None. ``standing`` is what the control plane told last."""

    home: str
    key: str
    public_key: str
    runner_id: str | None
    server: str | None
    running: bool
    pid: int | None
    draining: bool
    standing: str | None
    isolation: str
    run: RunReport | None
    runs_done: int
    undelivered: tuple[str, ...]
    cache_bytes: int
    last_contact_at: str | None


@dataclass(frozen=True, kw_only=True)
class InstallOptions:
    """``dry_run`` says what would be done; ``print_unit`` gives the unit's text alone."""

    home: Path
    user: str
    print_unit: bool = False
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """``example`` is the folder with the models and data sets."""

    out: Path
    example: Path
    json: bool = False


class DoctorCheck(Wire, frozen=True, kw_only=True):
    """One fact about this machine. ``remedy`` says what to do when it is missing."""

    name: str
    ok: bool
    detail: str
    remedy: str | None = None


class DoctorReport(Wire, frozen=True, kw_only=True):
    checks: tuple[DoctorCheck, ...]
    isolation: str
    device_class: str
    backends: tuple[str, ...]
    presets: tuple[str, ...]
    cpu_features: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()


class UseCases(Protocol):
    """``token`` is what ``EDGEPROOF_TOKEN`` held."""

    token: str | None

    def up(self, options: UpOptions) -> None: ...

    def runner(self, options: RunnerOptions) -> int: ...

    def noise(self, options: NoiseOptions) -> NoiseFloor: ...

    def join(self, options: JoinOptions) -> JoinReport: ...

    def runner_status(self, home: Path) -> RunnerStatusReport: ...

    def install_runner(self, options: InstallOptions) -> str: ...

    def demo(self, options: DemoOptions) -> int: ...

    def doctor(self, data_dir: Path) -> DoctorReport: ...
