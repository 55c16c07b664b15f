"""The build cache of one runner: what was built before from the same inputs by the same tools.

An entry is a folder named by its key, holding the artifact and a record of the build that really ran.
The record's digest is checked against the bytes on every hit; that finds damage, not a forger: whoever
may write here may put both in. Nothing here is trusted by anyone but the runner that owns the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from edgeproof.contract.base import Signed
from edgeproof.contract.canonical import canonical, digest_of
from edgeproof.contract.ids import Digest, UtcTime
from edgeproof.contract.requests import Precision
from edgeproof.contract.statements import ForgeConfig
from edgeproof.forge.port import BuiltModel
from edgeproof.forge.presets import Preset

ENTRY_ARTIFACT, ENTRY_RECORD = "artifact", "record.json"
_CHUNK: Final = 1 << 20
DEFAULT_MAX_BYTES: Final = 8 << 30


class BuildKey(Signed, frozen=True, kw_only=True):
    """All that decides an artifact's bytes. ``device_class`` only where the preset is machine bound."""

    source: Digest
    calibration: Digest | None
    backend: str
    target: str
    preset: str
    options: dict[str, str]
    input_shapes: dict[str, tuple[int, ...]]
    batch: int | None
    height: int | None
    width: int | None
    versions: dict[str, str]
    device_class: str | None


class BuildRecord(Signed, frozen=True, kw_only=True):
    """The build that really ran."""

    build_id: str
    built_at: UtcTime
    artifact_sha256: Digest
    precision: Precision
    input_shapes: dict[str, tuple[int, ...]]
    build_options: dict[str, str]

    def built(self) -> BuiltModel:
        return BuiltModel(
            precision=self.precision, input_shapes=self.input_shapes, build_options=self.build_options
        )


def build_key(config: ForgeConfig, preset: Preset, versions: dict[str, str], device_class: str) -> str:
    """The digest that names a build; equal for equal inputs, options, shapes and tools."""
    return digest_of(
        BuildKey(
            source=config.source,
            calibration=config.calibration if preset.needs_calibration else None,
            backend=config.backend,
            target=config.target,
            preset=preset.name,
            options=dict(preset.options),
            input_shapes=config.input_shapes,
            batch=config.batch,
            height=config.height,
            width=config.width,
            versions=versions,
            device_class=device_class if preset.machine_bound else None,
        )
    )


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


class BuildCache:
    """Entries under ``root``, the least recently used ones dropped beyond ``max_bytes``."""

    def __init__(self, root: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._root = root
        self._max_bytes = max_bytes

    def fetch(self, key: str, target: Path) -> BuildRecord | None:
        """Copy the artifact to ``target`` and tell its record, or None. A damaged entry is dropped."""
        entry = self._root / key
        try:
            record = msgspec.json.decode((entry / ENTRY_RECORD).read_bytes(), type=BuildRecord)
            shutil.copyfile(entry / ENTRY_ARTIFACT, target)
            intact = file_sha256(target) == record.artifact_sha256
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError:
            intact = False
        if not intact:
            target.unlink(missing_ok=True)
            shutil.rmtree(entry, ignore_errors=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(entry)
        return record

    def store(self, key: str, artifact: Path, record: BuildRecord) -> None:
        """Add an entry, whole or not at all. An entry that is there already stays."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=self._root, prefix=".new-") as folder:
            fresh = Path(folder, "entry")
            fresh.mkdir()
            shutil.copyfile(artifact, fresh / ENTRY_ARTIFACT)
            (fresh / ENTRY_RECORD).write_bytes(canonical(record))
            with contextlib.suppress(OSError):  # another build of the same was faster
                fresh.rename(self._root / key)
        self._trim(keep=key)

    def _trim(self, keep: str) -> None:
        entries: list[tuple[float, int, Path]] = []
        for entry in self._root.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if not entry.name.startswith("."):
                    entries.append((entry.stat().st_mtime, (entry / ENTRY_ARTIFACT).stat().st_size, entry))
        total = sum(size for _, size, _ in entries)
        for _, size, entry in sorted(entries):
            if total <= self._max_bytes:
                return
            if entry.name != keep:
                shutil.rmtree(entry, ignore_errors=True)
                total -= size
