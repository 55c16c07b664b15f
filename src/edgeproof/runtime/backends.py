"""Which backends are installed here: entry points of the group ``edgeproof.backends``."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Final

from edgeproof.contract.errors import StageFailed
from edgeproof.contract.runners import EngineCapability
from edgeproof.runtime.port import Backend
from edgeproof.runtime.trial import names_that_ran

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
    """What this machine can measure with, by name, as tried. A backend whose engine is missing, or runs
    nothing here, is left out."""
    found = [_tried(entry) for entry in sorted(entry_points(group=GROUP), key=lambda one: one.name)]
    return tuple(one for one in found if one is not None)


def _tried(entry: EntryPoint) -> EngineCapability | None:
    made: Backend = entry.load()()
    versions = made.versions()
    if not versions:
        return None
    ran = names_that_ran(entry.value)
    able = [trial for trial in made.trials if trial.name in ran]
    if not able:
        return None
    return EngineCapability(
        name=made.name,
        version=versions.get(made.name, "unknown"),
        targets=made.targets,
        precisions=tuple(sorted({trial.precision for trial in able})),
        quantizations=tuple(sorted(trial.name for trial in able if trial.name != trial.precision)),
    )
