"""The port for artifact bytes: blobs named by their SHA-256. Who may read or write is not its affair.

Bytes are received first and kept afterwards, so that the caller decides in between, under its own lock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

_DIGITS: Final = frozenset("0123456789abcdef")


def is_digest(name: str) -> bool:
    """Whether bytes may be kept under ``name``."""
    return len(name) == 64 and _DIGITS.issuperset(name)


class Received(Protocol):
    """Bytes that arrived whole and are not kept yet. Leaving the context discards them."""

    @property
    def digest(self) -> str:
        """SHA-256 of what arrived, in hexadecimal."""

    @property
    def size(self) -> int:
        """Bytes."""

    async def keep(self) -> None:
        """Make them readable under their digest, durably and all at once. Repeating it is harmless."""


class ArtifactStore(Protocol):
    """Where artifact bytes are kept."""

    def receive(
        self, chunks: AsyncIterator[bytes], *, max_bytes: int
    ) -> AbstractAsyncContextManager[Received]:
        """Take all of ``chunks``. Entering raises ``body_too_large`` beyond ``max_bytes``, ``disk_full``
        when no space is left, and whatever ``chunks`` raises; nothing stays behind."""

    async def offer(self, name: str, seconds: float) -> str | None:
        """A URL that takes one PUT of bytes within ``seconds``, to be found by ``adopt`` under ``name``; None
        where the store can sign none. It binds neither size nor content."""

    def adopt(self, name: str, *, max_bytes: int) -> AbstractAsyncContextManager[Received]:
        """What was put at the URL offered for ``name``. Entering raises ``not_found``, ``body_too_large``;
        leaving forgets what was put there."""

    async def size(self, digest: str) -> int | None:
        """Bytes kept under ``digest``, None when there are none."""

    def read(self, digest: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes ``start`` up to, not including, ``end``. Raises ``not_found``."""

    async def delete(self, digest: str) -> None:
        """Forget the bytes. Repeating it is harmless."""

    async def sweep(self, older_than_seconds: float) -> int:
        """Remove what killed uploads left behind; how many there were."""

    def kept(self) -> AsyncIterator[str]:
        """The digests of everything kept, in any order; what comes or goes meanwhile may be told or not, and
        what has no digest's name is passed over.

        Raises ``Unavailable`` also where there is no such place, unlike questions for one digest."""
