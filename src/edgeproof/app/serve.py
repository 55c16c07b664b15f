"""The control plane's process: ``python -m edgeproof.app.serve '<json ServeConfig>'``.

One process, one event loop, Granian embedded in it, so that a signal is ours to act on: long polls and
streams end first, then the listener, and after ``DRAIN_SECONDS`` whatever is left. Nothing that must be
right depends on this ending being orderly.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from edgeproof.app.artifact_place import artifact_place
from edgeproof.app.child_process import allow_many_files, die_with_parent
from edgeproof.app.credentials import drop_enrolment_token, ensure_credentials, write_enrolment_token
from edgeproof.app.log_output import configure_logging
from edgeproof.app.static_keys import read_static_keys
from edgeproof.cli.use_cases import LogFormat
from edgeproof.contract.base import Wire
from edgeproof.http.application import create_app
from edgeproof.server.audit.audit_seal import run_sealer
from edgeproof.server.fleet.static_keys import keep_static_keys
from edgeproof.server.plane.control_plane import Settings, open_control_plane
from edgeproof.server.plane.meters import watch_loop
from edgeproof.server.queue.reap import run_reaper
from edgeproof.server.upkeep.housekeeping import run_housekeeping

_log = logging.getLogger(__name__)

DATABASE_VARIABLE: Final = "EDGEPROOF_DATABASE_URL"
DRAIN_SECONDS: Final = 4.0
BACKLOG: Final = 1024
MAX_CONNECTIONS: Final = 1 << 16
"""Not Granian's default, its backlog: that many silent peers or open streams would shut everybody out. What
bounds them is the number of files that the process may open."""
HEADER_MILLISECONDS: Final = 15_000
"""For a request's head, from a connection's first moment or its last answer. Longer than clients keep idle
connections (httpx: 5 s)."""
_CLOSE_SECONDS: Final = 1.0
"""Both together are less than the time that ``up`` gives a child to stop."""
_OF_SETTINGS: Final = (
    "public_url", "lease_seconds", "stage_lease_seconds", "heartbeat_seconds", "quarantine_after",
    "max_attempts", "upload_quota_bytes", "artifact_ttl_seconds", "events_kept_seconds",
    "idempotency_kept_seconds", "metrics_open", "dev",
)  # fmt: skip


class ServeConfig(Wire, frozen=True, kw_only=True):
    """Everything but the database's address, which is a secret and comes in the environment. None leaves
    ``Settings`` its default."""

    data_dir: str
    host: str
    port: int
    public_url: str
    parent_pid: int
    tls_cert: str | None = None
    tls_key: str | None = None
    lease_seconds: float = 90.0
    heartbeat_seconds: float = 30.0
    stage_lease_seconds: dict[str, float] = msgspec.field(default_factory=dict)
    quarantine_after: int | None = None
    max_attempts: int | None = None
    upload_quota_bytes: int | None = None
    artifact_ttl_seconds: float | None = None
    events_kept_seconds: float | None = None
    idempotency_kept_seconds: float | None = None
    log_format: LogFormat = "text"
    metrics_open: bool = False
    dev: bool = False
    runner_keys: str | None = None
    local_runner: bool = False
    """Whether a runner on this machine is to be let in by the folder's enrolment token."""


class Ready(Wire, frozen=True, kw_only=True):
    """Printed on standard output, one line, once requests are answered."""

    url: str
    server_key: str
    fingerprint: str


def settings_of(config: ServeConfig) -> Settings:
    told = {name: value for name in _OF_SETTINGS if (value := getattr(config, name)) is not None}
    return Settings(**told)


async def serve(config: ServeConfig, dsn: str) -> None:
    data_dir = Path(config.data_dir)
    static_keys = read_static_keys(Path(config.runner_keys)) if config.runner_keys else None
    settings = settings_of(config)
    artifacts = artifact_place(data_dir)
    # Asked for once, so that a wrong name or credential is told now and not to the first upload.
    await anext(artifacts.kept(), None)
    plane = await open_control_plane(dsn, artifacts, settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await keep_static_keys(plane.database, static_keys)
    credentials = await ensure_credentials(plane, data_dir, config.tls_cert)
    if config.local_runner:
        await write_enrolment_token(plane, data_dir, credentials.admin_token)
    else:
        drop_enrolment_token(data_dir)
    app = InFlight(create_app(plane))
    server = Server(
        app,
        address=config.host,
        port=config.port,
        interface=Interfaces.ASGINL,
        # To tell versions apart Granian waits for a connection's first bytes, for ever.
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
        backlog=BACKLOG,
        backpressure=MAX_CONNECTIONS,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_MILLISECONDS),
        ssl_cert=Path(config.tls_cert) if config.tls_cert else None,
        ssl_key=Path(config.tls_key) if config.tls_key else None,
    )
    serving = asyncio.create_task(server.serve())
    reaping = asyncio.create_task(run_reaper(plane))
    sealing = asyncio.create_task(run_sealer(plane))
    watching = asyncio.create_task(watch_loop(plane.meters, plane.stopping))
    tidying = asyncio.create_task(run_housekeeping(plane))
    stopping = asyncio.create_task(stop.wait())
    await _listening(config.host, config.port, serving)
    _collect_seldom()
    public = plane.keys.signing.public
    ready = Ready(url=config.public_url, server_key=public.base64, fingerprint=public.fingerprint)
    print(msgspec.json.encode(ready).decode(), flush=True)  # noqa: T201 - the protocol with the parent
    needed: set[asyncio.Future[Any]] = {serving, reaping, stopping}
    await asyncio.wait(needed, return_when=asyncio.FIRST_COMPLETED)
    broken = [task for task in (serving, reaping) if task.done()]
    plane.stopping.set()
    await app.drained(DRAIN_SECONDS)
    server.stop()
    reaping.cancel()
    sealing.cancel()
    tidying.cancel()
    await asyncio.gather(reaping, sealing, tidying, watching, return_exceptions=True)
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await plane.close()
    except TimeoutError:
        _log.warning("the database connections were not given back in time")
    for task in broken:
        task.result()
        raise RuntimeError("the listener or the reaper ended by itself")


def _collect_seldom() -> None:
    """What is loaded by now stays, and a thousand waiting runners are no garbage: looking through all of it
    again and again would hold up whoever is served at that moment."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


class InFlight:
    """Counts requests under way, so that a stop can wait for their answers."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._count += 1
        self._idle.clear()
        try:
            await self._app(scope, receive, send)
        finally:
            self._count -= 1
            if self._count == 0:
                self._idle.set()

    async def drained(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("%s requests were still under way at the stop", self._count)


async def _listening(host: str, port: int, serving: asyncio.Task[None]) -> None:
    """Returns once the port takes connections. Raises what ended ``serving`` before it did."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    while not serving.done():
        try:
            _, writer = await asyncio.open_connection(address, port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        local, peer = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
        writer.close()
        # A port without a listener can be connected to itself; that is no answer.
        if local != peer:
            return
    serving.result()
    raise OSError(f"the listener on {host}:{port} ended at once")


def main() -> None:
    config = msgspec.json.decode(sys.argv[1], type=ServeConfig)
    die_with_parent(config.parent_pid)
    configure_logging(config.log_format)
    allow_many_files()
    dsn = os.environ.pop(DATABASE_VARIABLE)
    try:
        asyncio.run(serve(config, dsn))
    except Exception:
        _log.exception("the control plane could not run")
        sys.stderr.flush()
        os._exit(1)
    # Granian's own threads must not meet the interpreter's teardown.
    os._exit(0)


if __name__ == "__main__":
    main()
