"""What a runner remembers of its device's noise floor, by the conditions and the load it was measured under.

It is found by the confined stage and is that stage's word, as its measurements are. Conditions that change
have no floor yet, nor has a load that is greater than any seen, and the next measurement finds one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from edgeproof.contract.statements import NoiseFloor
from edgeproof.domain.contamination import SAME_LOAD, alike
from edgeproof.runner.home import RunnerHome, write_private

_MOST: Final = 32


class RememberedNoise:
    """The latest floors of one runner's home, at most 32, newest last."""

    def __init__(self, home: RunnerHome) -> None:
        self._path: Path = home.root / "noise.json"

    def read(self) -> tuple[NoiseFloor, ...]:
        """None where there is no file, or one that cannot be read: then the floor is measured anew."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=tuple[NoiseFloor, ...])
        except (OSError, msgspec.MsgspecError):
            return ()

    def remember(self, floor: NoiseFloor) -> None:
        """Replaces what was known under the same conditions and load; a floor without figures is not kept."""
        known = self.read()
        if floor in known or not floor.floor_pct:
            return
        others = [
            one
            for one in known
            if one.conditions != floor.conditions or not alike(one.background, floor.background, SAME_LOAD)
        ]
        write_private(self._path, msgspec.json.encode((*others, floor)[-_MOST:]))
