"""When a process is warm: judged from its own calls, by the runner while it plays and again by the verifier.

Standard library only: measured processes import it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

FEWEST_CALLS: Final = 5
"""A smaller window shows its calls' own scatter, and not whether the model is still getting faster."""


def window_calls(warmup_calls: int) -> int:
    """Calls in a window: half of the least number of warm-up calls, rounded up, and ``FEWEST_CALLS`` at
    least; 0 is no warm-up at all."""
    return max(-(-warmup_calls // 2), FEWEST_CALLS) if warmup_calls else 0


def settled(taken_ns: Sequence[int], window: int, tolerance_pct: float) -> bool:
    """Whether the lower quartiles of the last two windows agree within ``tolerance_pct`` of the smaller.

    The quartile and not the median, because a passing load on the device delays most calls of a window
    but is no sign of a cold model. Without windows (0) nobody saw it come to rest.
    """
    if window == 0 or len(taken_ns) < 2 * window:
        return False
    earlier, later = _quartile(taken_ns[-2 * window : -window]), _quartile(taken_ns[-window:])
    return abs(later - earlier) <= tolerance_pct / 100 * min(earlier, later)


def finished(taken_ns: Sequence[int], window: int, tolerance_pct: float, most_windows: int) -> bool:
    """Whether to warm up no longer: settled, or ``most_windows`` were played in vain, or none are wanted."""
    return settled(taken_ns, window, tolerance_pct) or len(taken_ns) >= window * most_windows


def _quartile(values: Sequence[int]) -> int:
    return sorted(values)[len(values) // 4]
