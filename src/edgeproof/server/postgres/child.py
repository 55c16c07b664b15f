"""Starts a command that dies with us, as some identity: the parent's side of ``_child.py``."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import IO

from edgeproof.server.postgres import _child
from edgeproof.server.postgres.identity import Identity

# Exit statuses that mean: the command itself was never run.
NEVER_RAN = frozenset({_child.PARENT_GONE, _child.IDENTITY_REFUSED, _child.UNREACHABLE})
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


async def start_child(
    command: list[str],
    *,
    identity: Identity,
    death_signal: int,
    reach: list[Path],
    output: IO[bytes],
    death_signal_by_kernel: bool = sys.platform == "linux",
) -> asyncio.subprocess.Process:
    """Fork the child, which waits for :func:`release` before it does anything.

    Its environment is empty but for the locale, its folder is ``/``, its session its own (a Ctrl-C in our
    terminal is ours alone). ``death_signal`` is what it gets when we are gone. ``reach`` names folders and
    programs that its identity must be able to reach.
    """
    spec = {
        "parent": os.getpid(),
        "namespace_uid": identity.namespace_uid,
        "uid": identity.uid,
        "gid": identity.gid,
        "reach": [str(path) for path in reach],
        "death_signal": int(death_signal),
        "death_signal_by_kernel": death_signal_by_kernel,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", str(Path(_child.__file__).absolute()), json.dumps(spec), *command),
        stdin=asyncio.subprocess.PIPE,
        stdout=output,
        stderr=output,
        cwd="/",
        env={"PATH": _PATH, "LANG": "C", "LC_ALL": "C", "TZ": "UTC"},
        start_new_session=True,
    )


def release(process: asyncio.subprocess.Process) -> None:
    """Let the child go on. Its stdin stays open: its end tells a watching child that we are gone."""
    if process.stdin is not None:
        process.stdin.write(b"\n")
