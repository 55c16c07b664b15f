"""What one start leaves for the next: which process is the postmaster, and where its socket lies.

Written before the postmaster runs its first instruction, so no crash of ours leaves an unknown one behind.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from edgeproof.server.postgres.processes import ProcessIdentity


@dataclass(frozen=True, slots=True)
class PostmasterRecord:
    """Our last postmaster (or the process that watches over it) and its socket folder."""

    process: ProcessIdentity
    socket_dir: Path


def give_to_owner(descriptor: int, folder: Path) -> None:
    """Started once by root, a user's data directory stays usable for that user."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def write_private(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` with mode 0600, durably and in one step."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        give_to_owner(descriptor, path.parent)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def write_record(path: Path, record: PostmasterRecord) -> None:
    """Replace the record at ``path``."""
    process = record.process
    content = {
        "pid": process.pid,
        "boot": process.boot,
        "started": process.started,
        "socket_dir": str(record.socket_dir),
    }
    write_private(path, json.dumps(content).encode())


def read_record(path: Path) -> PostmasterRecord | None:
    """The record at ``path``; None when there is none that can be read."""
    try:
        content = json.loads(path.read_bytes())
        process = ProcessIdentity(int(content["pid"]), str(content["boot"]), int(content["started"]))
        return PostmasterRecord(process, Path(str(content["socket_dir"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None
