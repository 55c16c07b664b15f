"""One measurement at a time per host: an advisory lock on a well-known file that every user can open.

Not a defence: a local user can hold the lock for ever. But no link or pipe that one plants in its place
is followed or waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from edgeproof.contract.errors import Unavailable

# Not tempfile.gettempdir(): with TMPDIR set, two runners of one host would take two locks.
HOST_LOCK: Final = Path("/tmp/edgeproof-measure.lock")  # noqa: S108 - opened without following links
_POLL_SECONDS: Final = 0.1


def _open(path: Path) -> int:
    """A descriptor of the regular file at ``path``, made if missing. Raises ``Unavailable``."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    for _ in range(3):
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            _make(path)
            continue
        except OSError as error:
            raise _unavailable("opened", error) from error
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        break
    raise Unavailable("unavailable", "the measuring lock is not a regular file")


def _make(path: Path) -> None:
    """Unless somebody else was quicker. Raises ``Unavailable``, on a read-only file system for one."""
    try:
        made = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return
    except OSError as error:
        raise _unavailable("made", error) from error
    try:
        os.fchmod(made, 0o666)
    except OSError as error:
        raise _unavailable("made", error) from error
    finally:
        os.close(made)


def _unavailable(what: str, error: OSError) -> Unavailable:
    return Unavailable("unavailable", f"the measuring lock cannot be {what}: {error.strerror}")


def make_host_lock(path: Path = HOST_LOCK) -> None:
    """Make the file if it is missing: a confined stage can open it, but not make it.

    Raises ``Unavailable`` as the lock itself does.
    """
    os.close(_open(path))


@contextlib.asynccontextmanager
async def host_lock(path: Path = HOST_LOCK, *, on_wait: Callable[[], None]) -> AsyncIterator[None]:
    """Hold the lock; ``on_wait`` is called once if another measurement holds it."""
    descriptor = _open(path)
    try:
        waited = False
        while not _taken(descriptor):
            if not waited:
                on_wait()
                waited = True
            await asyncio.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
