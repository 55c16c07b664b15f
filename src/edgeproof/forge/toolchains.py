"""Finding toolchains: the entry points ``edgeproof.toolchains`` that load on this machine."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Final

from edgeproof.contract.errors import StageFailed
from edgeproof.contract.runners import EngineCapability
from edgeproof.forge.port import ENTRY_POINT_GROUP, Toolchain
from edgeproof.forge.presets import PRESETS

_NO_MEMORY: Final = ("bad_alloc", "Cannot allocate memory", "failed to map segment")


def load_toolchain(name: str) -> Toolchain:
    """The toolchain called ``name``. Raises ``StageFailed``: ``unknown_backend`` when nobody registered
    it, ``backend_missing`` when its libraries do not load here."""
    found = entry_points(group=ENTRY_POINT_GROUP, name=name)
    for entry in found:
        return _load(entry)
    raise StageFailed("unknown_backend", f"no toolchain {name!r} is installed", fault="backend")


def detect_toolchains() -> tuple[EngineCapability, ...]:
    """What this machine can build, as its runner reports it; toolchains that do not load are left out."""
    found: list[EngineCapability] = []
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda one: one.name):
        try:
            toolchain = _load(entry)
        except StageFailed:
            continue
        mine = [preset for preset in PRESETS.values() if preset.backend == toolchain.name]
        found.append(
            EngineCapability(
                name=toolchain.name,
                version=toolchain.version,
                targets=tuple(sorted({preset.target for preset in mine})),
                precisions=tuple(sorted({preset.precision for preset in mine} - {"unknown"})),
                quantizations=tuple(sorted(preset.name for preset in mine if preset.precision == "int8")),
            )
        )
    return tuple(found)


def _load(entry: EntryPoint) -> Toolchain:
    try:
        factory = entry.load()
    except ImportError as error:
        if any(words in str(error) for words in _NO_MEMORY):
            raise StageFailed("memory_limit", f"toolchain {entry.name!r} does not fit: {error}") from error
        raise StageFailed("backend_missing", f"toolchain {entry.name!r} does not load: {error}") from error
    toolchain: Toolchain = factory()
    return toolchain
