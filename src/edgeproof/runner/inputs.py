"""Inputs by digest, fetched once and kept: the runner's content-addressed cache.

What a digest names never changes, so a file that is here is either right or damaged; it is hashed
before every later use and fetched again when damaged.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

Fetch = Callable[[str, Path], Awaitable[None]]
"""Fetches the artifact with that digest to that path, its bytes and no others, or not at all."""

DEFAULT_BOUND: Final = 8 << 30


class InputCache:
    """Files named by digest under ``folder``; least recently used ones go beyond ``bound`` bytes."""

    def __init__(self, folder: Path, bound: int = DEFAULT_BOUND) -> None:
        self._folder = folder
        self._bound = bound

    async def place(self, digest: str, fetch: Fetch, target: Path) -> None:
        """A copy of the artifact's bytes at ``target``: its user may write there, and not here."""
        kept = self._folder / digest
        if not await asyncio.to_thread(_intact, kept, digest):
            kept.unlink(missing_ok=True)
            await fetch(digest, kept)
        os.utime(kept)
        await asyncio.to_thread(shutil.copyfile, kept, target)
        self._trim(keep=kept)

    def _trim(self, keep: Path) -> None:
        files = sorted((p for p in self._folder.iterdir() if p.is_file()), key=lambda p: p.stat().st_mtime)
        size = sum(path.stat().st_size for path in files)
        for path in files:
            if size <= self._bound:
                return
            if path != keep:
                size -= path.stat().st_size
                path.unlink()


def _intact(path: Path, digest: str) -> bool:
    return path.exists() and file_digest(path) == digest


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
