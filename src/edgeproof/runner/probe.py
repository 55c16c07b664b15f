"""What a stage can reach, found by trying: run confined as ``python -m edgeproof.runner.probe '<json>'``.

Standard library only. It prints one JSON object: for each attempt whether it was refused.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypedDict

ATTEMPTS: Final = {
    "key": "read the runner's key",
    "outbox": "read the outbox",
    "workspace": "read another run's workspace",
    "loopback": "connect to loopback",
    "unix": "connect to a Unix socket",
    "signal": "signal the runner",
    "write": "write outside its workspace",
}
"""Name and words of each."""


class Targets(TypedDict):
    """Paths, but for a port and a process."""

    key: str
    outbox: str
    workspace: str
    loopback: int
    unix: str
    signal: int
    write: str


def attempts(targets: Targets) -> dict[str, Callable[[], object]]:
    return {
        "key": lambda: Path(targets["key"]).read_bytes(),
        "outbox": lambda: list(Path(targets["outbox"]).iterdir()),
        "workspace": lambda: Path(targets["workspace"]).read_bytes(),
        "loopback": lambda: socket.create_connection(("127.0.0.1", targets["loopback"]), 2).close(),
        "unix": lambda: _connect(targets["unix"]),
        "signal": lambda: os.kill(targets["signal"], 0),
        "write": lambda: Path(targets["write"]).write_bytes(b"written"),
    }


def _connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def main() -> None:
    refused = {}
    for name, attempt in attempts(json.loads(sys.argv[1])).items():
        try:
            attempt()
            refused[name] = False
        except OSError:
            refused[name] = True
    sys.stdout.write(json.dumps(refused))


if __name__ == "__main__":
    main()
