"""Inputs by digest, fetched once and kept: the runner's content-addressed cache.

What a digest names never changes, so a file that is here is either right or damaged; it is hashed
before every use and fetched again when damaged.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from edgeproof.contract.errors import StageFailed

Fetch = Callable[[str, Path], Awaitable[None]]
"""Fetches the artifact with that digest to that path, whole or not at all."""

DEFAULT_BOUND = 8 << 30


class InputCache:
    """Files named by digest under ``folder``; least recently used ones go beyond ``bound`` bytes."""

    def __init__(self, folder: Path, bound: int = DEFAULT_BOUND) -> None:
        self._folder = folder
        self._bound = bound

    async def get(self, digest: str, fetch: Fetch) -> Path:
        """The path of the artifact's bytes. Raises ``StageFailed`` when they do not match their name."""
        path = self._folder / digest
        if path.exists() and file_digest(path) == digest:
            os.utime(path)
            return path
        await fetch(digest, path)
        if file_digest(path) != digest:
            path.unlink()
            raise StageFailed(
                "artifact_digest_mismatch", f"artifact {digest}", fault="infrastructure", retryable=True
            )
        self._trim(keep=path)
        return path

    def _trim(self, keep: Path) -> None:
        files = sorted((p for p in self._folder.iterdir() if p.is_file()), key=lambda p: p.stat().st_mtime)
        size = sum(path.stat().st_size for path in files)
        for path in files:
            if size <= self._bound:
                return
            if path != keep:
                size -= path.stat().st_size
                path.unlink()


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
