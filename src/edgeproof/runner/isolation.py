"""Which isolation level this machine offers, and how to start a confined child at a level."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from edgeproof.contract.runners import Isolation
from edgeproof.contract.statements import RunLimits
from edgeproof.runner.confine import Confinement


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


async def detect() -> Isolation:
    """The highest level that works here, found by trying it."""
    limits = RunLimits(max_seconds=10, max_memory_bytes=1 << 30, max_upload_bytes=1 << 20)
    levels: tuple[Isolation, ...] = ("namespaces", "rlimit")
    for level in levels:
        with tempfile.TemporaryDirectory(prefix="edgeproof-probe-") as folder:
            workspace = Path(folder).resolve() / "work"
            workspace.mkdir()
            command = [sys.executable, "-I", "-c", "open('probe', 'w').close()"]
            process = await asyncio.create_subprocess_exec(
                *confined(level, workspace, workspace.parent, limits, command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=child_environment(workspace),
            )
            if await process.wait() == 0 and (workspace / "probe").exists():
                return level
    return "none"
