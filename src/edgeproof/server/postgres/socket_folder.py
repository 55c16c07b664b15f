"""The private folder of the Unix socket: inside the data directory when its path is short enough.

The kernel bounds a socket's path to 107 bytes (103 on macOS). A longer data directory gets a folder of
mode 0700 with a random name under the temporary directory, which is removed when the server stops.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

from edgeproof.server.postgres.errors import PostgresStartFailed
from edgeproof.server.postgres.settings import PORT

_LONGEST = 107 if sys.platform == "linux" else 103
_PREFIX = "edgeproof-pg-"


def fits(folder: Path) -> bool:
    """Whether a socket in ``folder`` can be bound, and named in a DSN: UTF-8, no comma (it parts hosts)."""
    try:
        path = str(folder / f".s.PGSQL.{PORT}").encode()
    except UnicodeEncodeError:
        return False
    return len(path) <= _LONGEST and b"," not in path


def make_socket_folder(data_dir: Path) -> Path:
    """Make an empty folder that only its owner can enter.

    Raises:
        PostgresStartFailed: no temporary directory has a path that is short enough.
    """
    inside = data_dir / "socket"
    if fits(inside):
        shutil.rmtree(inside, ignore_errors=True)
        inside.mkdir(mode=0o700)
        return inside
    for root in dict.fromkeys([Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]):  # noqa: S108
        if fits(root / f"{_PREFIX}________") and os.access(root, os.W_OK | os.X_OK):
            return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
    raise PostgresStartFailed("no temporary directory has a path short enough for a Unix socket; set TMPDIR")


def remove_socket_folder(folder: Path, *, owners: set[int]) -> None:
    """Remove a folder that :func:`make_socket_folder` made, now or before a crash; nothing else."""
    try:
        found = folder.lstat()
    except OSError:
        return
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid in owners and stat.S_IMODE(found.st_mode) == 0o700
    if ours and (folder.name == "socket" or folder.name.startswith(_PREFIX)):
        shutil.rmtree(folder, ignore_errors=True)
