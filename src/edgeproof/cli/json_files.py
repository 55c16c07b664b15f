"""JSON files that a user names on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from edgeproof.contract.errors import Refused

MOST_BYTES: Final = 1 << 20
"""The control plane takes no larger body."""


def read_json_object(path: Path) -> dict[str, Any]:
    """Raises ``Refused`` (``invalid_json``, ``body_too_large``)."""
    found: dict[str, Any] = _read(path, dict[str, Any], "JSON object", MOST_BYTES)
    return found


def read_json(path: Path, *, most_bytes: int) -> Any:
    """Any JSON. Raises as ``read_json_object`` does."""
    return _read(path, Any, "JSON", most_bytes)


def _read(path: Path, type_: Any, what: str, most_bytes: int) -> Any:
    if path.stat().st_size > most_bytes:
        raise Refused("body_too_large", f"{path} is larger than {most_bytes} bytes")
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("invalid_json", f"{path} is no {what}: {error}") from error
