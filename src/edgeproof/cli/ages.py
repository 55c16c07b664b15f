"""How long ago something was, in one unit."""

from __future__ import annotations

from datetime import datetime
from typing import Final

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


def age(at: str, now: datetime) -> str:
    """``12 s ago``: of a time as the control plane writes it. Where this machine's clock is a minute and more
    behind the control plane's, ``in 5 min`` may be read, which shows it."""
    seconds = (now - datetime.fromisoformat(at)).total_seconds()
    if seconds <= -_MINUTE:
        return f"in {_in_one_unit(-seconds)}"
    return f"{_in_one_unit(max(seconds, 0))} ago"


def _in_one_unit(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{int(seconds)} s"
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)} min"
    if seconds < 2 * _DAY:
        return f"{int(seconds // _HOUR)} h"
    return f"{int(seconds // _DAY)} d"
