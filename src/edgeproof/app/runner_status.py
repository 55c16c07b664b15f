"""``edgeproof runner status``: what this machine's runner is and does, told from its own folder alone."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import msgspec

from edgeproof.cli.use_cases import RunnerStatusReport, RunReport
from edgeproof.contract.errors import Refused
from edgeproof.runner.home import RunnerHome, usable
from edgeproof.runner.isolation import detect
from edgeproof.runner.outbox import Outbox
from edgeproof.runner.state import is_running, read_joined, read_state


def runner_status(folder: Path) -> RunnerStatusReport:
    """Raises ``Refused``: ``not_joined`` for a folder that no runner has used, ``home_unusable``,
    ``runner_key_damaged``; makes nothing."""
    home = RunnerHome(folder, make=False)
    with usable(home.root):
        if not home.key.is_file():
            raise Refused("not_joined", f"no runner has used {folder}")
        key = home.kept_key().public
        running = is_running(home)
        state, joined = read_state(home), read_joined(home)
        undelivered = Outbox(home.outbox).undelivered()
        cache_bytes = sum(_size(cache) for cache in (home.inputs, home.builds))
    now = state if running else None
    return RunnerStatusReport(
        home=str(home.root),
        key=key.fingerprint,
        public_key=key.base64,
        runner_id=(state and state.runner_id) or (joined.runner_id if joined else None),
        server=joined.server if joined else None,
        running=running,
        pid=now.pid if now else None,
        draining=bool(now and now.draining),
        standing=state.standing if state else None,
        isolation=now.isolation if now else asyncio.run(detect()),
        run=msgspec.convert(msgspec.to_builtins(now.run), RunReport) if now and now.run else None,
        runs_done=now.runs_done if now else 0,
        undelivered=undelivered,
        cache_bytes=cache_bytes,
        last_contact_at=state.last_contact_at if state else None,
    )


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a runner at work clears its caches meanwhile
            total += 0 if path.is_dir() else path.lstat().st_size
    return total
