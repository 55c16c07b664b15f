"""What a runner remembers of its device's noise floor, by the conditions and the load it was measured under.

It is found by the confined stage and is that stage's word, as its measurements are. Conditions that change
have no floor yet, nor has a load that is greater than any seen, and the next measurement finds one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from edgeproof.contract.statements import NoiseFloor
from edgeproof.lab.noise import DRAWS, is_like
from edgeproof.runner.home import UNREADABLE, RunnerHome, write_private

_MOST: Final = 96


class RememberedNoise:
    """The latest draws of floors in one runner's home, at most 96, newest last."""

    def __init__(self, home: RunnerHome) -> None:
        self._path: Path = home.root / "noise.json"

    def read(self) -> tuple[NoiseFloor, ...]:
        """None where there is no file, or one that cannot be read: then the floor is measured anew."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=tuple[NoiseFloor, ...])
        except (OSError, *UNREADABLE):
            return ()

    def remember(self, floor: NoiseFloor) -> None:
        """Beside the latest others under like conditions and load; a floor without figures is not kept."""
        known = self.read()
        if floor in known or not floor.floor_pct:
            return
        like = [one for one in known if is_like(one, floor)]
        gone = like[: max(0, len(like) + 1 - DRAWS)]
        kept = [one for one in known if one not in gone]
        write_private(self._path, msgspec.json.encode((*kept, floor)[-_MOST:]))
