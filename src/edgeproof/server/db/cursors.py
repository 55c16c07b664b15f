"""Cursors of listings: the server's own running number of the last row of a page, as text."""

from __future__ import annotations

from typing import Final

from edgeproof.contract.errors import Refused

LAST: Final = 2**63 - 1
"""Behind every row: where a listing without a cursor begins."""


def read_cursor(cursor: str | None) -> int | None:
    """The number behind a cursor. Raises ``Refused`` (``invalid_request``) for one that no page gave."""
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise Refused("invalid_request", "no page gave this cursor")
    return int(cursor)
