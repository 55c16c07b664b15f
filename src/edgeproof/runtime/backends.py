"""Which backends are installed here: entry points of the group ``edgeproof.backends``."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Final

from edgeproof.contract.errors import StageFailed
from edgeproof.contract.runners import EngineCapability
from edgeproof.runtime.port import Backend

GROUP: Final = "edgeproof.backends"


def reference(name: str) -> str:
    """``module:attribute`` of a backend's class. Raises ``StageFailed`` (``backend_missing``)."""
    for entry in entry_points(group=GROUP, name=name):
        return entry.value
    raise StageFailed("backend_missing", f"no backend named {name} is installed here", fault="device")


def backend(name: str) -> Backend:
    """The named backend, without its engine imported. Raises ``StageFailed`` (``backend_missing``)."""
    for entry in entry_points(group=GROUP, name=name):
        made: Backend = entry.load()()
        if made.versions():
            return made
    raise StageFailed(
        "backend_missing", f"backend {name} or its engine is not installed here", fault="device"
    )


def detect() -> tuple[EngineCapability, ...]:
    """What this machine can measure with, by name; a backend whose engine is missing is left out."""
    found: list[EngineCapability] = []
    for entry in sorted(entry_points(group=GROUP), key=lambda one: one.name):
        made: Backend = entry.load()()
        versions = made.versions()
        if versions:
            found.append(
                EngineCapability(
                    name=made.name,
                    version=versions.get(made.name, "unknown"),
                    targets=made.targets,
                    precisions=made.precisions,
                )
            )
    return tuple(found)
