"""Lends the forge's child the earlier builds of its own order, and keeps what it built.

The child runs on untrusted models, so it never sees the runner's cache: it gets a copy of the one entry
folder of its order in its workspace, and what comes back is kept for that order only, once its digest is
the one that the runner hashed and signed. Whoever spoils it spoils builds of the same order alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import msgspec

from edgeproof.contract.canonical import digest_of
from edgeproof.contract.statements import ForgeConfig
from edgeproof.forge.cache import ENTRY_RECORD, BuildCache, BuildRecord

LENT_FOLDER: Final = "build-cache"
DEFAULT_BOUND: Final = 8 << 30


class LentBuilds:
    """Builds under ``folder``, least recently used orders dropped beyond ``bound`` bytes."""

    def __init__(self, folder: Path, bound: int = DEFAULT_BOUND) -> None:
        self._folder = folder
        self._bound = bound

    def lend(self, config: ForgeConfig, workspace: Path) -> str:
        """The name of the folder in ``workspace`` that the child may use as its build cache."""
        kept = self._order(config)
        if kept.exists():
            kept.touch()
            shutil.copytree(kept, workspace / LENT_FOLDER)
        return LENT_FOLDER

    def keep(self, config: ForgeConfig, workspace: Path, artifact: Path, artifact_digest: str) -> None:
        """Keep the finished build whose artifact has that digest, if the child recorded one."""
        for path in (workspace / LENT_FOLDER).glob(f"*/{ENTRY_RECORD}"):
            try:
                record = msgspec.json.decode(path.read_bytes(), type=BuildRecord)
            except (msgspec.MsgspecError, OSError):
                continue
            if record.artifact_sha256 == artifact_digest and not path.is_symlink():
                BuildCache(self._order(config)).store(path.parent.name, artifact, record)
        self._trim()

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
