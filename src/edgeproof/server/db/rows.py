"""A query's row, as use cases hand it on."""

from __future__ import annotations

from typing import Any, Protocol


class Row(Protocol):
    """Columns by name; which ones is said where it is asked for."""

    def __getitem__(self, column: str, /) -> Any: ...
