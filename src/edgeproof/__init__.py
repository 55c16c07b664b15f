"""Edgeproof proves a model on the devices it will run on.

The public surface of the package, typed in ``__init__.pyi``; rooms are described in docs/architecture.md.
Names are imported on first use: a command that needs no HTTP client must not pay for one, and no room
below the client's comes to depend on it by reading the version here.
"""

from __future__ import annotations

import os
from importlib import import_module

# Everything stays on the owner's machines: ONNX Runtime's own wheels send events about models (names and
# hashes among them) to their maker unless this stands in the environment before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = ["Client", "Job", "__version__"]


def __getattr__(name: str) -> object:
    if name in ("Client", "Job"):
        return getattr(import_module("edgeproof.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
