"""The server's settings, given on its command line so that no edited file can weaken them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

# The socket's file name ends in it; no TCP port is ever opened.
PORT = 5432

_CLOSED = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
}
_DURABLE = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
}
# Sized for a board with 1 GiB of memory that also serves a model; whoever needs more runs a server of
# their own. The run queue's rows live for seconds: it is looked at more often than once a minute. `sync`
# I/O and no parallel workers: short indexed queries gain nothing from helper processes.
_SMALL = {
    "max_connections": "100",
    "shared_buffers": "64MB",
    "work_mem": "4MB",
    "maintenance_work_mem": "32MB",
    "max_wal_size": "512MB",
    "min_wal_size": "80MB",
    "io_method": "sync",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_max_workers": "2",
    "autovacuum_naptime": "10s",
    "jit": "off",
}
# Level `log` leaves out failed statements: their text may carry secrets, and the file stays small.
_QUIET = {
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
    "log_startup_progress_interval": "5s",
    "log_line_prefix": "%m [%p] ",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


def cluster_name(cluster: Path) -> str:
    """The name in the title of each process of the server, which every user can read; one per directory."""
    return f"edgeproof-{hashlib.sha256(os.fsencode(cluster)).hexdigest()[:16]}"


def server_arguments(cluster: Path, socket_dir: Path) -> list[str]:
    """Arguments of ``postgres`` for one cluster and one socket folder."""
    quoted = '"' + str(socket_dir).replace('"', '""') + '"'
    own = {"unix_socket_directories": quoted, "cluster_name": cluster_name(cluster)}
    settings = {**_CLOSED, **_DURABLE, **_SMALL, **_QUIET, **own}
    arguments = ["-D", str(cluster)]
    for name, value in settings.items():
        arguments += ["-c", f"{name}={value}"]
    return arguments
