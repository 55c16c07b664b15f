"""Which blocks of a duet do not count: the rule that the runner applies and the verifier applies again.

A block's ``wait`` is the largest share of its time that one of the measured threads stood ready in a run
queue while others had the processor. A baseline block and its neighbouring candidate block make a round.
Pure; standard library only.
"""

from __future__ import annotations

from typing import Final

CONTENDED: Final = "contended"
"""Waited longer than the other side's block of the same round, beyond the threshold."""
UNMATCHED: Final = "unmatched"
"""Nothing is wrong with it, but the load changed for good within its round, so it has no counterpart."""
EVENTS: Final = ("throttled", "swapped", "frequency")
FLAGS: Final = (*EVENTS, CONTENDED, UNMATCHED)
SAME_LOAD: Final = 0.05
"""The share of a block's time by which two waits may differ and still count as the same load."""


def alike(wait: float, other: float, difference: float) -> bool:
    """Whether two blocks bore the same load: waits at most ``difference`` apart, or a factor of 2.

    ``difference`` is a share of a block's time, as the plan states it. The factor is for a load that bears
    on both sides: its share of a block of 20 ms varies by itself, and that is noise, not contamination.
    """
    return abs(wait - other) <= max(difference, min(wait, other))
