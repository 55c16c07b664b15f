"""The data directory: its layout, its permissions and its lock. Touches nothing outside of it.

<data_dir>/            0700 (0711 when root gave the server a uid of its own)
  lock                 held with flock by the one control plane that uses the directory
  password             0600, the password of the one database role
  postmaster.json      0600, see ``record``
  postgres.log         what the server says
  cluster/             PostgreSQL's own data directory
  cluster.initdb-*/    an unfinished initdb; never used, removed at the next start
  socket/              0700, unless its path would be too long
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgeproof.server.postgres.errors import PostgresAlreadyRunning, PostgresDataDirUnusable
from edgeproof.server.postgres.record import give_to_owner

_LARGEST_LOG = 4 * 1024 * 1024
# A control plane that was killed needs a moment to leave its lock.
_LOCK_PATIENCE = 1.0


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Paths inside one data directory."""

    path: Path

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def password(self) -> Path:
        return self.path / "password"

    @property
    def record(self) -> Path:
        return self.path / "postmaster.json"

    @property
    def log(self) -> Path:
        return self.path / "postgres.log"

    @property
    def cluster(self) -> Path:
        return self.path / "cluster"

    @property
    def pid_file(self) -> Path:
        return self.cluster / "postmaster.pid"

    def prepare(self) -> None:
        """Make the directory, or make sure that it is ours and private.

        Raises:
            PostgresDataDirUnusable: it cannot be made, is another user's, or holds something else.
        """
        if "\n" in str(self.path):
            raise PostgresDataDirUnusable("PostgreSQL cannot keep a path with a line break in its pid file")
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            content = {entry.name for entry in self.path.iterdir()} - {"lost+found"}
            found = self.path.stat()
            if content and "lock" not in content:
                raise PostgresDataDirUnusable(f"{self.path} is not empty and not a data directory of ours")
            if os.geteuid() not in (0, found.st_uid):
                raise PostgresDataDirUnusable(f"{self.path} belongs to uid {found.st_uid}")
            if found.st_mode & 0o066:
                self.path.chmod(0o700)
        except OSError as error:
            raise PostgresDataDirUnusable(f"cannot use {self.path}: {error}") from error

    def open_log(self) -> IO[bytes]:
        """Open the log to append; one that has grown large is kept once, as ``postgres.log.1``."""
        if self.log.exists() and self.log.stat().st_size > _LARGEST_LOG:
            self.log.replace(self.log.with_name(self.log.name + ".1"))
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        give_to_owner(descriptor, self.path)
        return os.fdopen(descriptor, "ab")

    async def acquire(self) -> int:
        """Lock the directory; closing the returned descriptor, or our end, frees it.

        Raises:
            PostgresAlreadyRunning: another control plane holds it.
        """
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        deadline = asyncio.get_running_loop().time() + _LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if asyncio.get_running_loop().time() < deadline:
                    await asyncio.sleep(0.02)
                    continue
                holder = os.read(descriptor, 20).decode(errors="replace").strip()
                os.close(descriptor)
                raise PostgresAlreadyRunning(
                    f"{self.path} is in use by another control plane (pid {holder or 'unknown'})"
                ) from None
        give_to_owner(descriptor, self.path)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        return descriptor
