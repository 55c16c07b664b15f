"""An embedded PostgreSQL for owners who bring none: initialise, start, watch, stop (ADR 0001).

Not here: schema, migrations, connection pools, and anything about an owner's own server.
"""

from edgeproof.server.postgres.address import PostgresAddress
from edgeproof.server.postgres.errors import (
    PostgresAlreadyRunning,
    PostgresBinariesMissing,
    PostgresDataDirUnusable,
    PostgresError,
    PostgresInitFailed,
    PostgresStartFailed,
    PostgresUnsupported,
)
from edgeproof.server.postgres.supervisor import EmbeddedPostgres

__all__ = [
    "EmbeddedPostgres",
    "PostgresAddress",
    "PostgresAlreadyRunning",
    "PostgresBinariesMissing",
    "PostgresDataDirUnusable",
    "PostgresError",
    "PostgresInitFailed",
    "PostgresStartFailed",
    "PostgresUnsupported",
]
