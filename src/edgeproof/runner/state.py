"""What a runner leaves on disk about itself for ``runner status``: nothing is decided by it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from edgeproof.contract.base import Wire
from edgeproof.contract.canonical import canonical
from edgeproof.contract.ids import UtcTime
from edgeproof.contract.runners import Isolation, RunnerStanding
from edgeproof.runner.home import UNREADABLE, RunnerHome, write_private


class Joined(Wire, frozen=True, kw_only=True):
    """The control plane that this runner joined: ``server`` is ``URL#sha256:<key>``, the pin."""

    server: str
    runner_id: str
    joined_at: UtcTime
    ca_file: str | None = None


class RunUnderWay(Wire, frozen=True, kw_only=True):
    run_id: str
    job_id: str
    stage: str
    attempt: int
    since: UtcTime


class RunnerState(Wire, frozen=True, kw_only=True):
    """Of the process ``pid``; good only while the home's lock is held. Times are the device's.

    ``last_contact_at`` outlives the process. ``standing`` is what the control plane said last; None until it
    has answered a claim of this process.
    """

    pid: int
    started_at: UtcTime
    isolation: Isolation
    runner_id: str | None = None
    run: RunUnderWay | None = None
    runs_done: int = 0
    draining: bool = False
    last_contact_at: UtcTime | None = None
    standing: RunnerStanding | None = None


class StateFile:
    """The running process's own; ``tell`` writes when something changed."""

    def __init__(self, path: Path, isolation: Isolation) -> None:
        self._path = path
        earlier = _read(path)
        self._state = RunnerState(
            pid=os.getpid(),
            started_at=shown(datetime.now(UTC)),
            isolation=isolation,
            last_contact_at=earlier.last_contact_at if earlier else None,
        )
        self._written: RunnerState | None = None

    def tell(self, **changes: object) -> None:
        self._state = msgspec.structs.replace(self._state, **changes)
        if self._state != self._written:
            # A full disk must not stop the work for want of a note about it.
            with contextlib.suppress(OSError):
                _replace(self._path, msgspec.json.encode(self._state))
                self._written = self._state


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(data)
    temporary.replace(path)


def read_state(home: RunnerHome) -> RunnerState | None:
    return _read(home.state)


def _read(path: Path) -> RunnerState | None:
    with contextlib.suppress(FileNotFoundError, *UNREADABLE):
        return msgspec.json.decode(path.read_bytes(), type=RunnerState)
    return None


def read_joined(home: RunnerHome) -> Joined | None:
    with contextlib.suppress(FileNotFoundError, *UNREADABLE):
        return msgspec.json.decode(home.joined.read_bytes(), type=Joined)
    return None


def keep_joined(home: RunnerHome, joined: Joined) -> None:
    write_private(home.joined, canonical(joined))


def is_running(home: RunnerHome) -> bool:
    """Whether a process holds the home's lock now."""
    with contextlib.suppress(FileNotFoundError), (home.root / "runner.lock").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def shown(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
