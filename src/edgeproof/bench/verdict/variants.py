"""Who plays in a rotation, by name: how much slower each is, and against whom it is compared.

A slowed variant may play twice in a rotation. The second time it is compared with the twin, which is the
baseline under another name, so that the two comparisons share no process.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from edgeproof.bench.verdict.traces import Condition

BASELINE: Final = "baseline"
TWIN: Final = "twin"
_SLOWED: Final = "by_"
_AGAIN: Final = "_again"

PLAYED: Final[dict[Condition, tuple[str, ...]]] = {
    "quiet": (BASELINE, TWIN, "by_2", "by_3", "by_3_again", "by_5"),
    "load": (BASELINE, TWIN),
}
"""On its margin nearly every trial takes the last look, so that slowdown plays twice. Under load only false
alarms are counted."""


def slowdown_of(name: str) -> int:
    """Percent."""
    return int(name.removeprefix(_SLOWED).removesuffix(_AGAIN)) if name.startswith(_SLOWED) else 0


def reference_of(name: str) -> str:
    """Whom ``name`` is compared with."""
    return TWIN if name.endswith(_AGAIN) else BASELINE


def slowed_by(percent: int, names: Collection[str]) -> tuple[str, ...]:
    """Those of ``names`` that are compared and are ``percent`` slower."""
    return tuple(name for name in names if name != BASELINE and slowdown_of(name) == percent)
