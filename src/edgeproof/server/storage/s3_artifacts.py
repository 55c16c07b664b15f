"""Artifact bytes in an S3-compatible store: ``incoming/`` for what arrives, ``sha256/<2 hex>/<64 hex>`` kept.

An object appears whole or not at all, by PUT as by COPY, so keeping is one request. A signed URL writes only
under ``incoming/direct/``; what came that way is copied to where no URL reaches before it is hashed, so that
what was checked is what is kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from edgeproof.contract.errors import EdgeproofError, Refused, Unavailable
from edgeproof.server.storage.artifact_store import is_digest

_logger = logging.getLogger(__name__)

_SMALL: Final = 4 << 20
"""What fits in memory is written once, under its own name."""
_PART: Final = 8 << 20
_INCOMING: Final = "incoming/"
_DIRECT: Final = "incoming/direct/"
_KEPT: Final = "sha256/"
_NOTHING: Final = "nothing was uploaded for this"
KEEP_SECONDS: Final = 45.0
"""How long the store may take to keep what arrived, tries included: half a lease, for a connection to the
database is held meanwhile."""


class S3Artifacts:
    """The ``ArtifactStore`` of any number of replicas. ``store`` may have a prefix."""

    def __init__(self, store: S3Store) -> None:
        self._store = store

    @asynccontextmanager
    async def receive(self, chunks: AsyncIterator[bytes], *, max_bytes: int) -> AsyncIterator[S3Received]:
        arriving = _Arriving(chunks, max_bytes)
        head = await arriving.at_most(_SMALL)
        if arriving.ended:
            yield S3Received(self._store, arriving.digest, arriving.size, data=head)
            return
        path = f"{_INCOMING}{secrets.token_hex(16)}"
        try:
            with _trouble_is_unavailable(arriving):
                await obstore.put_async(self._store, path, arriving.rest(head), chunk_size=_PART)
            yield S3Received(self._store, arriving.digest, arriving.size, path=path)
        finally:
            await self._forget(path)

    async def offer(self, name: str, seconds: float) -> str | None:
        with _trouble_is_unavailable():
            return await obstore.sign_async(self._store, "PUT", _DIRECT + name, timedelta(seconds=seconds))

    @asynccontextmanager
    async def adopt(self, name: str, *, max_bytes: int) -> AsyncIterator[S3Received]:
        path = f"{_INCOMING}{secrets.token_hex(16)}"
        size = await self._size(_DIRECT + name)
        if size is None:
            raise Refused("not_found", _NOTHING)
        try:
            if size > max_bytes:
                raise Refused("body_too_large", f"an artifact here has at most {max_bytes} bytes")
            with _trouble_is_unavailable():
                await _copy(self._store, _DIRECT + name, path)
            hashed, size = hashlib.sha256(), 0
            async for block in self._blocks(path, None):
                hashed.update(block)
                size += len(block)
                if size > max_bytes:
                    raise Refused("body_too_large", f"an artifact here has at most {max_bytes} bytes")
            yield S3Received(self._store, hashed.hexdigest(), size, path=path)
        finally:
            await self._forget(_DIRECT + name)
            await self._forget(path)

    async def size(self, digest: str) -> int | None:
        return await self._size(_path(digest))

    async def read(self, digest: str, start: int, end: int) -> AsyncIterator[bytes]:
        if start >= end:
            if await self.size(digest) is None:
                raise Refused("not_found")
            return
        async for block in self._blocks(_path(digest), (start, end)):
            start += len(block)
            yield block
        if start < end:
            raise Unavailable("internal_error", f"artifact {digest} is shorter than it was")

    async def delete(self, digest: str) -> None:
        with _trouble_is_unavailable():
            await self._remove(_path(digest))

    async def sweep(self, older_than_seconds: float) -> int:
        # By the store's own times against this machine's clock: the age that is asked for is a day or so.
        before = datetime.now(UTC) - timedelta(seconds=older_than_seconds)
        removed = 0
        with _trouble_is_unavailable():
            async for page in obstore.list(self._store, prefix=_INCOMING):
                for one in page:
                    if one["last_modified"] <= before:
                        await self._remove(one["path"])
                        removed += 1
        return removed

    async def kept(self) -> AsyncIterator[str]:
        try:
            with _trouble_is_unavailable():
                async for page in obstore.list(self._store, prefix=_KEPT):
                    for one in page:
                        name = one["path"].rsplit("/", 1)[-1]
                        if is_digest(name):
                            yield name
        except FileNotFoundError as error:
            raise Unavailable("unavailable", "the object store has no such bucket") from error

    async def _size(self, path: str) -> int | None:
        try:
            with _trouble_is_unavailable():
                return (await obstore.head_async(self._store, path))["size"]
        except FileNotFoundError:
            return None

    async def _blocks(self, path: str, part: tuple[int, int] | None) -> AsyncIterator[bytes]:
        try:
            with _trouble_is_unavailable():
                got = await obstore.get_async(self._store, path, options={"range": part} if part else None)
                async for block in got.stream(min_chunk_size=1 << 20):
                    yield bytes(block)
        except FileNotFoundError as error:
            raise Refused("not_found") from error

    async def _forget(self, path: str) -> None:
        """Remove what is not needed any more; what cannot be removed now is swept later."""
        try:
            await self._remove(path)
        except (BaseError, OSError):
            return

    async def _remove(self, path: str) -> None:
        try:
            await obstore.delete_async(self._store, path)
        except FileNotFoundError:
            return


class S3Received:
    """Bytes that arrived whole: in memory, or under a name that is not a digest's."""

    def __init__(
        self,
        store: S3Store,
        digest: str,
        size: int,
        *,
        data: bytes | None = None,
        path: str | None = None,
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        self.digest: Final = digest
        self.size: Final = size
        self._store = store
        self._data = data
        self._path = path
        self._keep_seconds = keep_seconds

    async def keep(self) -> None:
        with _trouble_is_unavailable():
            async with asyncio.timeout(self._keep_seconds):
                await self._keep()

    async def _keep(self) -> None:
        if self._path is not None:
            await _copy(self._store, self._path, _path(self.digest))
        else:
            await obstore.put_async(self._store, _path(self.digest), self._data or b"", use_multipart=False)


class _Arriving:
    """Counts and hashes what comes, and keeps the error that ended it: the way through the store loses it."""

    def __init__(self, chunks: AsyncIterator[bytes], max_bytes: int) -> None:
        self._chunks = chunks
        self._max_bytes = max_bytes
        self._hashed = hashlib.sha256()
        self.size = 0
        self.ended = False
        self.error: BaseException | None = None

    @property
    def digest(self) -> str:
        return self._hashed.hexdigest()

    async def at_most(self, bound: int) -> bytes:
        """The first bytes: all, and then ``ended`` is set, or a little more than ``bound``."""
        head = bytearray()
        async for chunk in self._counted():
            head += chunk
            if len(head) > bound:
                break
        return bytes(head)

    async def rest(self, head: bytes) -> AsyncIterator[bytes]:
        yield head
        try:
            async for chunk in self._counted():
                yield chunk
        except BaseException as error:
            self.error = error
            raise

    async def _counted(self) -> AsyncIterator[bytes]:
        while True:
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                self.ended = True
                return
            self.size += len(chunk)
            if self.size > self._max_bytes:
                raise Refused("body_too_large", f"an artifact here has at most {self._max_bytes} bytes")
            self._hashed.update(chunk)
            yield chunk


async def _copy(store: S3Store, source: str, target: str) -> None:
    """Raises ``not_found`` when another finish of the same upload, or a sweep, took ``source``."""
    try:
        await obstore.copy_async(store, source, target)
    except FileNotFoundError as error:
        raise Refused("not_found", _NOTHING) from error


@contextmanager
def _trouble_is_unavailable(arriving: _Arriving | None = None) -> Iterator[None]:
    try:
        yield
    except (EdgeproofError, FileNotFoundError):
        raise
    except (BaseError, OSError) as error:
        if arriving is not None and arriving.error is not None:
            raise arriving.error from None
        # Its words name endpoint, bucket and prefix: they are for who runs it.
        _logger.warning("the object store: %s", (str(error) or "no answer").splitlines()[0][:300])
        raise Unavailable("unavailable", "the object store gives no answer") from error


def _path(digest: str) -> str:
    if not is_digest(digest):
        raise ValueError("not a SHA-256 in lower-case hexadecimal")
    return f"{_KEPT}{digest[:2]}/{digest}"
