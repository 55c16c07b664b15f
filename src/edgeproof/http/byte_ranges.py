"""The ``Range`` header of RFC 9110 §14, for one range of bytes; several are answered as none."""

from __future__ import annotations

import re
from typing import Final

from edgeproof.contract.errors import Refused

_RANGE: Final = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*\Z", re.ASCII)


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """``(start, end)`` with ``end`` exclusive; None: send all, also for a range that is malformed.

    Raises ``Refused`` (``range_not_satisfiable``) when the range lies outside.
    """
    match = _RANGE.match(header.strip()) if header else None
    if match is None or match.group() == "" or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < int(first):
            return None
    if start >= end:
        raise Refused("range_not_satisfiable", f"the artifact has {size} bytes")
    return start, end
