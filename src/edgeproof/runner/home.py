"""The runner's own folder: its key, the work under way, the outbox and the caches.

Everything here is private to the runner's user (0700). A stage's child sees nothing of it but its own
workspace, where the isolation level can hide the rest.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import Refused

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding a damaged file of the folder may raise."""
DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a system error says where there is no room."""
DEFAULT_CACHE_BYTES: Final = 16 << 30
_LEAST_BYTES: Final = 16 << 10


@contextlib.contextmanager
def usable(folder: Path) -> Iterator[None]:
    """What the system refuses of a runner's folder becomes ``Refused`` (``home_unusable``), named."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        where = "" if error.filename in (None, str(folder)) else f": {os.fsdecode(error.filename)}"
        raise Refused("home_unusable", f"the runner's folder {folder}: {reason}{where}") from error


class RunnerHome:
    """Paths under one folder, which is made if need be, or left as it is without ``make``.

    What a runner needs to start, and this folder does not let it do, raises ``Refused`` (``home_unusable``).

    ``hide`` is what stages must not see: ``root`` itself, or a folder around it whose other contents are as
    secret (``up`` keeps the control plane's beside the runner's). ``cache_bytes`` bounds fetched inputs and
    earlier builds together, half for each.
    """

    def __init__(
        self,
        root: Path,
        *,
        hide: Path | None = None,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        make: bool = True,
    ) -> None:
        self.root = _resolved(root)
        self.hidden = self.root if hide is None else hide.resolve()
        if not self.root.is_relative_to(self.hidden):
            raise ValueError(f"{self.root} does not lie in {self.hidden}")
        self.key = self.root / "runner.key"
        self.outbox = self.root / "outbox"
        self.inputs = self.root / "inputs"
        self.builds = self.root / "builds"
        self.work = self.root / "work"
        self.joined = self.root / "joined.json"
        self.state = self.root / "state.json"
        self.cache_bytes = cache_bytes
        if make:
            with usable(self.root):
                for folder in (self.root, self.outbox, self.inputs, self.builds, self.work):
                    folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextlib.contextmanager
    def sole_owner(self) -> Iterator[None]:
        """Raises ``Refused`` (``already_running``) while another process holds the folder."""
        with usable(self.root):
            file = (self.root / "runner.lock").open("a")
        with file:
            with usable(self.root):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise Refused("already_running", f"another runner works in {self.root}") from None
            yield

    def signing_key(self) -> SigningKey:
        """The runner's evidence key, made on first use. 32 raw bytes, mode 0600."""
        with usable(self.root):
            if not self.key.exists():
                write_private(self.key, SigningKey.generate().private_bytes())
        return self.kept_key()

    def kept_key(self) -> SigningKey:
        """The key that is there. Raises ``Refused``: ``home_unusable``, or ``runner_key_damaged``."""
        with usable(self.root):
            raw = self.key.read_bytes()
        try:
            return SigningKey(raw)
        except ValueError as error:
            raise Refused(
                "runner_key_damaged",
                f"{self.key} is damaged, {len(raw)} bytes of 32: restore it from a backup, or remove it and "
                "join anew, as a new runner",
            ) from error

    def count_start(self) -> int | None:
        """How often a process began to work in this folder, now included; None if that cannot be kept."""
        path = self.root / "starts"
        try:
            starts = int(path.read_bytes()) + 1
        except (FileNotFoundError, ValueError):
            starts = 1
        try:
            write_private(path, str(starts).encode())
        except OSError:
            return None
        return starts

    def unfit(self) -> str | None:
        """Why no run could be done here: a result must at least have room to be kept. None: it could.

        What is only kept to be quicker goes first.
        """
        reason = self._no_room()
        if reason is not None:
            self.empty_caches()
            reason = self._no_room()
        return reason

    def empty_caches(self) -> bool:
        """Remove what is only kept to be quicker, as far as it lets itself; whether there was something."""
        was_kept = False
        for cache in (self.inputs, self.builds):
            was_kept = was_kept or (cache.is_dir() and any(cache.iterdir()))
            shutil.rmtree(cache, ignore_errors=True)
            cache.mkdir(mode=0o700, exist_ok=True)
        return was_kept

    def _no_room(self) -> str | None:
        try:
            write_private(self.root / "health", bytes(_LEAST_BYTES))
        except OSError as error:
            return f"its folder cannot be written: {error.strerror}"
        return None

    def new_workspace(self) -> Path:
        """A fresh folder for one stage; its name says nothing about the run."""
        path = self.work / secrets.token_hex(8)
        path.mkdir(mode=0o700)
        return path

    def clear_work(self) -> None:
        """Remove what stages of an earlier process left behind."""
        with usable(self.root):
            leftovers = list(self.work.iterdir())
        for leftover in leftovers:
            shutil.rmtree(leftover, ignore_errors=True)


def _resolved(root: Path) -> Path:
    try:
        return root.resolve()
    except RuntimeError as error:  # Python 3.11 and 3.12 say so of links that lead round in a circle
        raise Refused("home_unusable", f"the runner's folder {root}: {error}") from error


def write_private(path: Path, data: bytes) -> None:
    """Write ``data`` durably and at once, mode 0600: the file is whole or it is not there."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
