"""A file system of a test's own, as small as it likes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def can_mount() -> bool:
    """Whether a file system of a test's own can be had, in a mount namespace."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    probe = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]
    try:
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def with_small_disk(folder: Path, size: str, command: list[str]) -> list[str]:
    """``command`` where ``folder`` is a file system of ``size``, which nobody else sees."""
    script = 'mount -t tmpfs -o "size=$1,mode=0700" tmpfs "$2" && shift 2 && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh", size, str(folder), *command]
