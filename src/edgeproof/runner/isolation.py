"""Which isolation level this machine offers, and how to start a confined child at a level."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from edgeproof.contract.runners import Isolation
from edgeproof.contract.statements import RunLimits
from edgeproof.runner.confine import Confinement
from edgeproof.runner.probe import ATTEMPTS, Targets

DEMANDED: Final = tuple(name for name in ATTEMPTS if name != "write")
"""An old kernel may let a stage write where its user may: said by ``doctor``, and no lower level for it."""


def child_environment(workspace: Path) -> dict[str, str]:
    """All that a confined child inherits: no token, no proxy, nothing of the operator's."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(workspace),
        "TMPDIR": str(workspace),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        # NumPy's own algebra is not what is built or measured; its thread pool alone can exceed a limit.
        "OPENBLAS_NUM_THREADS": "1",
        "ORT_DISABLE_TELEMETRY": "1",
    }


def confined(
    level: Isolation, workspace: Path, hide: Path, limits: RunLimits, command: list[str]
) -> list[str]:
    """The command line that runs ``command`` confined. The caller must be its parent process."""
    confinement = Confinement(
        level=level,
        workspace=str(workspace),
        hide=str(hide),
        max_memory_bytes=limits.max_memory_bytes,
        max_file_bytes=limits.max_upload_bytes,
        parent=os.getpid(),
    )
    return [sys.executable, "-I", "-m", "edgeproof.runner.confine", json.dumps(confinement), *command]


class Findings(NamedTuple):
    """``refused``: of ``probe.ATTEMPTS``, what a stage at ``level`` was refused. ``reason``: why no more."""

    level: Isolation
    refused: dict[str, bool]
    reason: str


async def detect() -> Isolation:
    """The highest level that works here, found by trying it."""
    return (await find()).level


async def find() -> Findings:
    """A level is only called ``namespaces`` where a stage is refused all that it must be (``DEMANDED``)."""
    reason = ""
    for level in ("namespaces", "rlimit"):
        refused, words = await _tried(level)
        if refused is not None and (level == "rlimit" or all(refused[name] for name in DEMANDED)):
            return Findings(level, refused, reason)
        allowed = [ATTEMPTS[name] for name in DEMANDED if refused is not None and not refused[name]]
        reason = reason or words or f"a stage could {', '.join(allowed)}"
    return Findings("none", {}, reason)


async def _tried(level: Isolation) -> tuple[dict[str, bool] | None, str]:
    """What a probe at ``level`` was refused; None when it could not run, and why."""
    limits = RunLimits(max_seconds=10, max_memory_bytes=1 << 30, max_upload_bytes=1 << 20)
    with (
        tempfile.TemporaryDirectory(prefix="edgeproof-probe-") as folder,
        socket.create_server(("127.0.0.1", 0)) as loopback,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        root = Path(folder).resolve()
        home = root / "home"
        workspace, other = home / "work" / "own", home / "work" / "other"
        for made in (workspace, other, home / "outbox"):
            made.mkdir(parents=True)
        for secret in (home / "runner.key", other / "input"):
            secret.write_bytes(b"secret")
        unix.bind(str(root / "s"))
        unix.listen()
        targets = Targets(
            key=str(home / "runner.key"),
            outbox=str(home / "outbox"),
            workspace=str(other / "input"),
            loopback=loopback.getsockname()[1],
            unix=str(root / "s"),
            signal=os.getpid(),
            write=str(root / "outside"),
        )
        command = [sys.executable, "-I", "-m", "edgeproof.runner.probe", json.dumps(targets)]
        process = await asyncio.create_subprocess_exec(
            *confined(level, workspace, home, limits, command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=child_environment(workspace),
        )
        told, errors = await process.communicate()
        if process.returncode != 0:
            return None, errors.decode(errors="replace").strip()[-500:]
        return dict(json.loads(told)), ""
