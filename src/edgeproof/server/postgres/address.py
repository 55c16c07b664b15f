"""Where a running embedded PostgreSQL answers, and with which secret. Opens no connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """One server on one Unix socket. The password never shows in ``repr``."""

    socket_dir: Path
    user: str
    password: str = field(repr=False)
    database: str
    port: int

    def dsn(self) -> str:
        """A ``postgresql://`` URL, password included: fit for ``EDGEPROOF_DATABASE_URL``, not for a log."""
        credentials = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        host = quote(str(self.socket_dir), safe="")
        return f"postgresql://{credentials}@/{quote(self.database, safe='')}?host={host}&port={self.port}"
