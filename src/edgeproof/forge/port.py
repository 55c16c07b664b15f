"""The port of the build toolchains: what goes in, what comes out, one verb.

Heavy imports stay behind it: this file and ``presets`` load without any toolchain installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgeproof.contract.jobs import Progress
from edgeproof.contract.requests import Precision
from edgeproof.forge.presets import Preset

ENTRY_POINT_GROUP = "edgeproof.toolchains"

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class BuildOrder:
    """One build. ``source`` and ``calibration`` are files whose digests the caller has checked.

    ``input_shapes``, ``batch``, ``height`` and ``width`` are what the user gave (see
    ``domain.input_shapes``). The toolchain writes ``artifact`` and nothing outside ``scratch`` beside it.
    """

    preset: Preset
    source: Path
    calibration: Path | None
    input_shapes: Mapping[str, tuple[int, ...]]
    batch: int | None
    height: int | None
    width: int | None
    artifact: Path
    scratch: Path


@dataclass(frozen=True)
class BuiltModel:
    """What the toolchain did. ``build_options`` are its exact flags; ``precision`` was looked up in the
    model, not taken from the preset, where the preset leaves the model as it is."""

    precision: Precision
    input_shapes: dict[str, tuple[int, ...]]
    build_options: dict[str, str]


class Toolchain(Protocol):
    """One way to build. ``version`` is the toolchain's own, ``versions`` of all that shapes the bytes."""

    name: str
    artifact_format: str

    @property
    def version(self) -> str: ...

    def versions(self) -> dict[str, str]: ...

    def build(self, order: BuildOrder, on_progress: OnProgress) -> BuiltModel:
        """Write the artifact and prove that it loads and runs. Raises ``StageFailed``.

        The same order gives the same bytes, on the same kind of machine where the preset is
        ``machine_bound``.
        """
        ...
