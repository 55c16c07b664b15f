"""Artifact bytes in a local directory: ``incoming/`` for what arrives, ``sha256/<2 hex>/<64 hex>`` for keeps.

Both lie on one file system, so that keeping is one atomic rename after an fsync.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from edgeproof.contract.errors import Refused, Unavailable
from edgeproof.server.storage.artifact_store import is_digest

_BLOCK: Final = 1 << 20
# A listener takes a few blocks beyond what its peer has read: what a stalled download costs in memory.
_READ_BLOCK: Final = 1 << 18
# A quota or a file size limit is to the uploader what a full disk is.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class LocalArtifacts:
    """The ``ArtifactStore`` of one machine; several processes may share the directory."""

    def __init__(self, root: Path) -> None:
        self._incoming = root / "incoming"
        self._kept = root / "sha256"
        for folder in (self._incoming, self._kept):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @asynccontextmanager
    async def receive(self, chunks: AsyncIterator[bytes], *, max_bytes: int) -> AsyncIterator[LocalReceived]:
        path = self._incoming / secrets.token_hex(16)
        try:
            with _full_disk_is_unavailable():
                digest, size = await _write(path, chunks, max_bytes)
            yield LocalReceived(digest, size, path, self._path(digest))
        finally:
            path.unlink(missing_ok=True)

    async def offer(self, name: str, seconds: float) -> str | None:
        return None

    @asynccontextmanager
    async def adopt(self, name: str, *, max_bytes: int) -> AsyncIterator[LocalReceived]:
        raise Refused("not_found", "nothing was uploaded for this")
        yield

    async def size(self, digest: str) -> int | None:
        try:
            return (await asyncio.to_thread(self._path(digest).stat)).st_size
        except FileNotFoundError:
            return None

    async def read(self, digest: str, start: int, end: int) -> AsyncIterator[bytes]:
        try:
            file = await asyncio.to_thread(self._path(digest).open, "rb")
        except FileNotFoundError as error:
            raise Refused("not_found") from error
        with file:
            await asyncio.to_thread(file.seek, start)
            while start < end:
                block = await asyncio.to_thread(file.read, min(_READ_BLOCK, end - start))
                if not block:
                    raise Unavailable("internal_error", f"artifact {digest} is shorter than it was")
                start += len(block)
                yield block

    async def delete(self, digest: str) -> None:
        await asyncio.to_thread(self._path(digest).unlink, missing_ok=True)

    async def sweep(self, older_than_seconds: float) -> int:
        return await asyncio.to_thread(self._sweep, older_than_seconds)

    async def kept(self) -> AsyncIterator[str]:
        for folder in await asyncio.to_thread(_folders, self._kept):
            for name in await asyncio.to_thread(os.listdir, folder):
                if is_digest(name):
                    yield name

    def _sweep(self, older_than_seconds: float) -> int:
        # The files' own times are this machine's: the database's clock has no say in them.
        before = time.time() - older_than_seconds
        removed = 0
        for path in self._incoming.iterdir():
            with suppress(FileNotFoundError):
                # No upload makes folders here: one is somebody else's.
                if path.is_file() and path.stat().st_mtime <= before:
                    path.unlink()
                    removed += 1
        return removed

    def _path(self, digest: str) -> Path:
        if not is_digest(digest):
            raise ValueError("not a SHA-256 in lower-case hexadecimal")
        return self._kept / digest[:2] / digest


class LocalReceived:
    """A whole, synced file that has no name among the kept ones yet."""

    def __init__(self, digest: str, size: int, path: Path, final: Path) -> None:
        self.digest: Final = digest
        self.size: Final = size
        self._path = path
        self._final = final

    async def keep(self) -> None:
        with _full_disk_is_unavailable():
            await asyncio.to_thread(self._keep)

    def _keep(self) -> None:
        if self._final.exists():
            return
        self._final.parent.mkdir(mode=0o700, exist_ok=True)
        self._path.rename(self._final)
        for folder in (self._final.parent, self._final.parent.parent):
            _sync_folder(folder)


async def _write(path: Path, chunks: AsyncIterator[bytes], max_bytes: int) -> tuple[str, int]:
    hashed = hashlib.sha256()
    size = 0
    waiting = bytearray()
    with await asyncio.to_thread(_create, path) as file:

        def put(block: bytes) -> None:
            hashed.update(block)
            file.write(block)

        async for chunk in chunks:
            size += len(chunk)
            if size > max_bytes:
                raise Refused("body_too_large", f"an artifact here has at most {max_bytes} bytes")
            waiting += chunk
            if len(waiting) >= _BLOCK:
                await asyncio.to_thread(put, bytes(waiting))
                waiting.clear()
        await asyncio.to_thread(put, bytes(waiting))
        await asyncio.to_thread(file.flush)
        await asyncio.to_thread(os.fsync, file.fileno())
    return hashed.hexdigest(), size


def _folders(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir()]


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _full_disk_is_unavailable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise Unavailable("disk_full", "no space is left for the artifact") from error
        raise
