"""``edgeproof runner status``: what this machine's runner is and does, told from its own folder alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from edgeproof.cli.use_cases import RunnerStatusReport, RunReport
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import Refused
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.isolation import detect
from edgeproof.runner.outbox import Outbox
from edgeproof.runner.state import is_running, read_joined, read_state


def runner_status(folder: Path) -> RunnerStatusReport:
    """Raises ``Refused`` (``not_joined``) for a folder that no runner has used; makes nothing."""
    if not (folder / "runner.key").is_file():
        raise Refused("not_joined", f"no runner has used {folder}")
    home = RunnerHome(folder)
    running = is_running(home)
    state, joined = read_state(home), read_joined(home)
    now = state if running else None
    key = SigningKey((home.root / "runner.key").read_bytes()).public
    return RunnerStatusReport(
        home=str(home.root),
        key=key.fingerprint,
        public_key=key.base64,
        runner_id=(state and state.runner_id) or (joined.runner_id if joined else None),
        server=joined.server if joined else None,
        running=running,
        pid=now.pid if now else None,
        draining=bool(now and now.draining),
        isolation=now.isolation if now else asyncio.run(detect()),
        run=msgspec.convert(msgspec.to_builtins(now.run), RunReport) if now and now.run else None,
        runs_done=now.runs_done if now else 0,
        undelivered=Outbox(home.outbox).undelivered(),
        cache_bytes=sum(_size(folder) for folder in (home.inputs, home.builds)),
        last_contact_at=state.last_contact_at if state else None,
    )


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
