"""What the CLI asks of the composition root: use cases that need more rooms than it may import."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgeproof.contract.base import Wire
from edgeproof.contract.jobs import Progress
from edgeproof.contract.statements import NoiseFloor


@dataclass(frozen=True, kw_only=True)
class UpOptions:
    """``port`` 0 picks a free one. ``runners`` is how many local runners to start: 0 or 1.

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
    json: bool = False
    parent_pid: int | None = None


@dataclass(frozen=True, kw_only=True)
class RunnerOptions:
    """``server`` is ``URL#sha256:<key>``. ``token_file`` holds an enrolment token."""

    server: str
    home: Path
    token: str | None = None
    token_file: Path | None = None
    max_runs: int | None = None
    isolation: str | None = None
    ca_file: Path | None = None
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


class UseCases(Protocol):
    """``token`` is what ``EDGEPROOF_TOKEN`` held."""

    token: str | None

    def up(self, options: UpOptions) -> None: ...

    def runner(self, options: RunnerOptions) -> int: ...

    def noise(self, options: NoiseOptions) -> NoiseFloor: ...

    def demo(self, options: DemoOptions) -> int: ...

    def doctor(self, data_dir: Path) -> DoctorReport: ...
