"""What can go wrong with the embedded PostgreSQL, each with a stable ``code``.

PostgresError
├── PostgresUnsupported      postgres_unsupported        this platform has no Unix sockets
├── PostgresBinariesMissing  postgres_binaries_missing   the wheel with the binaries is not installed
├── PostgresDataDirUnusable  postgres_data_dir_unusable  not ours, not reachable, or another version's
├── PostgresAlreadyRunning   postgres_already_running    another control plane or server has the directory
├── PostgresInitFailed       postgres_init_failed        initdb ended with an error
└── PostgresStartFailed      postgres_start_failed       the server ended, stalled or refused our password
"""

from __future__ import annotations

from typing import ClassVar


class PostgresError(Exception):
    """Base of all errors of this room; the message is for the operator."""

    code: ClassVar[str] = "postgres_error"


class PostgresUnsupported(PostgresError):
    """The embedded server needs Unix sockets and file locks; name a server of your own instead."""

    code = "postgres_unsupported"


class PostgresBinariesMissing(PostgresError):
    """The PostgreSQL binaries are not installed, or not for this platform."""

    code = "postgres_binaries_missing"


class PostgresDataDirUnusable(PostgresError):
    """The data directory holds something else, cannot be reached, or is of another major version."""

    code = "postgres_data_dir_unusable"


class PostgresAlreadyRunning(PostgresError):
    """Another live process holds the data directory."""

    code = "postgres_already_running"


class PostgresInitFailed(PostgresError):
    """``initdb`` failed. No half-made cluster is left behind."""

    code = "postgres_init_failed"


class PostgresStartFailed(PostgresError):
    """The server ended before it was ready, made no progress, or refused our password."""

    code = "postgres_start_failed"
