"""The two sides of a comparison, and the order in which their blocks are played."""

from __future__ import annotations

from typing import Final, Literal

Side = Literal["baseline", "candidate"]
SIDES: Final[tuple[Side, Side]] = ("baseline", "candidate")


def block_order(first: Side, blocks: int) -> list[Side]:
    """A B B A A B B A …: ``blocks`` of each side."""
    second = SIDES[1 - SIDES.index(first)]
    return [
        side for number in range(blocks) for side in ((first, second) if number % 2 == 0 else (second, first))
    ]
