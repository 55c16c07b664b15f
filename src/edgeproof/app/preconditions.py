"""What ``edgeproof up`` demands before it starts anything: a safe address, a free port, its folder alone."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil

from edgeproof.cli.use_cases import UpOptions
from edgeproof.contract.errors import Refused


def demand_safe_bind(options: UpOptions) -> None:
    """TLS off loopback (DESIGN decision 11), and a name by which runners can dial a wildcard address.

    Raises ``Refused`` (``insecure_bind``, ``invalid_request``).
    """
    if (options.tls_cert is None) != (options.tls_key is None):
        raise Refused("insecure_bind", "--tls-cert and --tls-key go together")
    if not (options.tls_cert or options.behind_tls_proxy or _is_loopback(options.host)):
        raise Refused(
            "insecure_bind",
            f"{options.host} is not loopback: give --tls-cert and --tls-key, or --behind-tls-proxy",
        )
    if options.public_url is None and _is_wildcard(options.host):
        raise Refused(
            "invalid_request", f"nobody can dial {options.host}: say with --public-url how runners reach it"
        )


def free_port(host: str, port: int) -> int:
    """``port`` if nobody holds it, a free one for 0.

    Raises ``Refused``: ``port_in_use`` naming who holds it, ``invalid_request`` for an address that is
    not this machine's or may not be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise Refused(
                    "invalid_request", f"cannot listen on {host}:{port}: {error.strerror}"
                ) from error
            holder = _holder_of(port)
            who = f"process {holder}" if holder else "another process"
            raise Refused("port_in_use", f"{host}:{port} is held by {who}") from error
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def sole_use(data_dir: Path) -> Iterator[None]:
    """Makes the folder if it is missing and holds its lock.

    Raises ``Refused``: ``already_running`` naming the process that has it, ``invalid_request`` for a
    folder that cannot be used.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (data_dir / "up.lock").open("a+")
    except OSError as error:
        raise Refused("invalid_request", f"{data_dir} cannot be used: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise Refused("already_running", f"{data_dir} is in use by process {holder}") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == ""


def _holder_of(port: int) -> int | None:
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                return int(connection.pid) if connection.pid else None
    return None
