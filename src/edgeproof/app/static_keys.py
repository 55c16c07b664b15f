"""The static allowlist: a file of runner keys that the operator keeps with the configuration.

One key a line, base64 as a runner prints it, then anything as a comment; empty lines and lines that begin
with ``#`` say nothing. It is read whenever the control plane starts. An empty file is a list of no keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import Refused

_MOST_BYTES: Final = 4 << 20


def read_static_keys(path: Path) -> tuple[PublicKey, ...]:
    """The keys of the file. Raises ``Refused`` (``invalid_request``) naming the line."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise Refused("invalid_request", f"{path.name} is larger than any list of runner keys")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused("invalid_request", f"the list of runner keys cannot be read: {error}") from error
    keys = []
    for number, line in enumerate(lines, 1):
        words = line.split(maxsplit=1)
        if not words or words[0].startswith("#"):
            continue
        try:
            keys.append(PublicKey.from_base64(words[0]))
        except Refused as error:
            raise Refused("invalid_request", f"{path.name}, line {number}: {error.detail}") from error
    return tuple(keys)
