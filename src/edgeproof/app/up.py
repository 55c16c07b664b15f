"""``edgeproof up``: PostgreSQL, the control plane and a local runner, each its own process, as one thing.

Started in that order, stopped in the other. A child that ends by itself is started again; when this
process ends, however it ends, none of them is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final

import msgspec
import psutil

from edgeproof.app.child_process import stop_process
from edgeproof.app.credentials import ENROLMENT_FILE
from edgeproof.app.serve import DATABASE_VARIABLE, Ready, ServeConfig
from edgeproof.cli.use_cases import UpOptions
from edgeproof.contract.errors import Refused, Unavailable
from edgeproof.server.postgres import EmbeddedPostgres, PostgresError

_log = logging.getLogger(__name__)

RESTART_SECONDS: Final = 0.5
_READY_SECONDS: Final = 60.0

Announce = Callable[[Ready], None]


def run_up(options: UpOptions) -> None:
    """Returns after SIGINT or SIGTERM. Raises ``EdgeproofError`` when it cannot start."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_run_up(options))


async def _run_up(options: UpOptions) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def announce(ready: Ready) -> None:
        if options.json:
            print(msgspec.json.encode(ready).decode(), flush=True)  # noqa: T201
        else:
            print(f"Edgeproof is up at {ready.url}\nServer key {ready.fingerprint}", flush=True)  # noqa: T201

    await up(options, stop, announce)


async def up(options: UpOptions, stop: asyncio.Event, announce: Announce) -> None:
    """Runs until ``stop`` is set."""
    _demand_safe_bind(options)
    data_dir = options.data_dir.resolve()
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _sole_owner(data_dir):
        port = _free_port(options.host, options.port)
        async with _database(data_dir) as (dsn, database_ended):
            config = _serve_config(options, data_dir, port)
            await _supervise(options, config, dsn, database_ended, stop, announce)


async def _supervise(
    options: UpOptions,
    config: ServeConfig,
    dsn: str,
    database_ended: asyncio.Event,
    stop: asyncio.Event,
    announce: Announce,
) -> None:
    announced = False
    while not stop.is_set():
        server, ready = await _start_server(config, dsn)
        runner: asyncio.subprocess.Process | None = None
        try:
            if not announced:
                announce(ready)
                announced = True
            if options.runners:
                runner = await _start_runner(config, ready)
            while not stop.is_set() and server.returncode is None:
                await _first_end(stop, database_ended, server, runner)
                if database_ended.is_set() and not stop.is_set():
                    raise Unavailable("unavailable", "the embedded PostgreSQL ended by itself")
                if runner is not None and runner.returncode is not None and not stop.is_set():
                    _log.warning("the local runner ended with %s, starting it again", runner.returncode)
                    await asyncio.sleep(RESTART_SECONDS)
                    runner = await _start_runner(config, ready)
        finally:
            if runner is not None:
                await stop_process(runner)
            await stop_process(server)
        if not stop.is_set():
            _log.warning("the control plane ended with %s, starting it again", server.returncode)
            await asyncio.sleep(RESTART_SECONDS)


async def _first_end(
    stop: asyncio.Event,
    database_ended: asyncio.Event,
    server: asyncio.subprocess.Process,
    runner: asyncio.subprocess.Process | None,
) -> None:
    waits = [stop.wait(), database_ended.wait(), server.wait()]
    if runner is not None:
        waits.append(runner.wait())
    tasks = [asyncio.create_task(one) for one in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _start_server(config: ServeConfig, dsn: str) -> tuple[asyncio.subprocess.Process, Ready]:
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "edgeproof.app.serve",
        msgspec.json.encode(config).decode(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, DATABASE_VARIABLE: dsn},
        start_new_session=True,
    )
    assert server.stdout is not None
    try:
        async with asyncio.timeout(_READY_SECONDS):
            line = await server.stdout.readline()
    except TimeoutError:
        line = b""
    if not line:
        await stop_process(server)
        raise Unavailable("unavailable", f"the control plane did not start (exit {server.returncode})")
    return server, msgspec.json.decode(line, type=Ready)


async def _start_runner(config: ServeConfig, ready: Ready) -> asyncio.subprocess.Process:
    data_dir = Path(config.data_dir)
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "edgeproof",
        "runner",
        "start",
        f"{ready.url}#{ready.fingerprint}",
        "--home",
        str(data_dir / "runner"),
        "--token-file",
        str(data_dir / ENROLMENT_FILE),
        "--parent-pid",
        str(os.getpid()),
        *(["--ca-file", config.tls_cert] if config.tls_cert else []),
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )


@asynccontextmanager
async def _database(data_dir: Path) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The owner's database when ``EDGEPROOF_DATABASE_URL`` names one, else an embedded one."""
    ended = asyncio.Event()
    own = os.environ.get(DATABASE_VARIABLE)
    if own:
        yield own, ended
        return
    postgres = EmbeddedPostgres(data_dir / "postgres")
    try:
        address = await postgres.start()
    except PostgresError as error:
        code = "already_running" if error.code == "postgres_already_running" else "unavailable"
        raise Unavailable(code, str(error)) from error

    async def watch() -> None:
        await postgres.wait()
        ended.set()

    watching = asyncio.create_task(watch())
    try:
        yield address.dsn(), ended
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await postgres.stop()


def _serve_config(options: UpOptions, data_dir: Path, port: int) -> ServeConfig:
    scheme = "https" if options.tls_cert else "http"
    host = f"[{options.host}]" if ":" in options.host else options.host
    return ServeConfig(
        data_dir=str(data_dir),
        host=options.host,
        port=port,
        public_url=(options.public_url or f"{scheme}://{host}:{port}").rstrip("/"),
        parent_pid=os.getpid(),
        tls_cert=str(options.tls_cert.resolve()) if options.tls_cert else None,
        tls_key=str(options.tls_key.resolve()) if options.tls_key else None,
        lease_seconds=options.lease_seconds,
        heartbeat_seconds=options.heartbeat_seconds,
    )


def _demand_safe_bind(options: UpOptions) -> None:
    if (options.tls_cert is None) != (options.tls_key is None):
        raise Refused("insecure_bind", "--tls-cert and --tls-key go together")
    if options.tls_cert or options.behind_tls_proxy or _is_loopback(options.host):
        return
    raise Refused(
        "insecure_bind",
        f"{options.host} is not loopback: give --tls-cert and --tls-key, or --behind-tls-proxy",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _free_port(host: str, port: int) -> int:
    """``port`` if nobody holds it, a free one for 0. Raises ``Refused`` (``port_in_use``)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            holder = _holder_of(port)
            who = f"process {holder}" if holder else "another process"
            raise Refused("port_in_use", f"{host}:{port} is held by {who}: {error.strerror}") from error
        return int(probe.getsockname()[1])


def _holder_of(port: int) -> int | None:
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                return int(connection.pid) if connection.pid else None
    return None


@contextlib.contextmanager
def _sole_owner(data_dir: Path) -> Iterator[None]:
    """Holds the folder's lock. Raises ``Refused`` (``already_running``) naming the process that has it."""
    with (data_dir / "up.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise Refused("already_running", f"{data_dir} is in use by process {holder}") from None
        _note_pid(file)
        yield


def _note_pid(file: IO[str]) -> None:
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
