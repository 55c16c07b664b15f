"""Lends the forge's child the earlier builds of its own order, and keeps what it built.

The child runs on untrusted models, so it never sees the runner's cache: it gets a copy of the one entry
folder of its order in its workspace, and what comes back is kept for that order only, once its digest is
the one that the runner hashed and signed. Whoever spoils it spoils builds of the same order alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from pathlib import Path
from typing import Final

import msgspec

from edgeproof.contract.canonical import digest_of
from edgeproof.contract.errors import StageFailed
from edgeproof.contract.statements import CacheOrigin, ForgeConfig
from edgeproof.forge.cache import ENTRY_RECORD, BuildCache, BuildRecord
from edgeproof.runner.handover import left_bytes

_log = logging.getLogger(__name__)

LENT_FOLDER: Final = "build-cache"
DEFAULT_BOUND: Final = 8 << 30
_RECORD_BYTES: Final = 1 << 20
_MOST_ENTRIES: Final = 16


class LentBuilds:
    """Builds under ``folder``, least recently used orders dropped beyond ``bound`` bytes."""

    def __init__(self, folder: Path, bound: int = DEFAULT_BOUND) -> None:
        self._folder = folder
        self._bound = bound

    def lend(self, config: ForgeConfig, workspace: Path) -> str:
        """The name of the folder in ``workspace`` that the child may use as its build cache."""
        kept = self._order(config)
        if kept.exists():
            os.utime(kept)
            for entry in _entries(kept):
                _copy(entry, workspace / LENT_FOLDER / entry.name)
        return LENT_FOLDER

    def check_origin(self, config: ForgeConfig, origin: CacheOrigin | None, artifact_digest: str) -> None:
        """Raises ``StageFailed`` (``result_invalid``) for an earlier build that was not lent."""
        if origin is not None and (origin, artifact_digest) not in self._origins(config):
            detail = f"the stage claims an earlier build {origin.build_id[:200]!r}, which is not kept here"
            raise StageFailed("result_invalid", detail, fault="backend")

    def keep(self, config: ForgeConfig, workspace: Path, artifact: Path, artifact_digest: str) -> None:
        """Keep the finished build whose artifact has that digest, if the child recorded one.

        A cache that cannot be written costs the next build's time, not this build's result.
        """
        try:
            for entry in _entries(workspace / LENT_FOLDER):
                record = _record(entry)
                if record is not None and record.artifact_sha256 == artifact_digest:
                    BuildCache(self._order(config)).store(entry.name, artifact, record)
            self._trim()
        except OSError as error:
            _log.warning("a build could not be kept: %s", error)

    def _origins(self, config: ForgeConfig) -> list[tuple[CacheOrigin, str]]:
        records = [_record(entry) for entry in _entries(self._order(config))]
        return [
            (CacheOrigin(build_id=record.build_id, built_at=record.built_at), record.artifact_sha256)
            for record in records
            if record is not None
        ]

    def _order(self, config: ForgeConfig) -> Path:
        order = msgspec.structs.asdict(config)
        for name in ("role", "source_name"):
            del order[name]
        return self._folder / digest_of(order)

    def _trim(self) -> None:
        orders = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime)
        sizes = {order: sum(f.stat().st_size for f in order.rglob("*") if f.is_file()) for order in orders}
        total = sum(sizes.values())
        for order in orders[:-1]:
            if total <= self._bound:
                return
            total -= sizes[order]
            shutil.rmtree(order, ignore_errors=True)


def _entries(cache: Path) -> list[Path]:
    """Entry folders, real ones only: a child may have planted links, or no end of folders."""
    if cache.is_symlink() or not cache.is_dir():
        return []
    found = (one for one in cache.iterdir() if one.is_dir() and not one.is_symlink())
    return [one for one, _ in zip(found, range(_MOST_ENTRIES), strict=False)]


def _copy(entry: Path, target: Path) -> None:
    """As ``copytree``, whose error does not tell of a full disk."""
    target.mkdir(parents=True)
    for file in entry.iterdir():
        shutil.copyfile(file, target / file.name)
    shutil.copystat(entry, target)


def _record(entry: Path) -> BuildRecord | None:
    with contextlib.suppress(msgspec.MsgspecError, ValueError, StageFailed):
        return msgspec.json.decode(left_bytes(entry / ENTRY_RECORD, _RECORD_BYTES), type=BuildRecord)
    return None
