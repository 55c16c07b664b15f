"""``edgeproof up``: PostgreSQL, the control plane and a local runner, each its own process, as one thing.

Started in that order, stopped in the other. What cannot start at first is an error; what ends later, by
itself or by a stranger's hand, is started again: the runner alone, the control plane alone, PostgreSQL with
the control plane. The runner is left to its work meanwhile. When this process ends, however it ends, none
of them is left.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from edgeproof.app.artifact_place import artifact_place, is_secret
from edgeproof.app.child_process import die_with_parent, stop_process
from edgeproof.app.credentials import ENROLMENT_FILE
from edgeproof.app.database import GroundDatabase, ground_database
from edgeproof.app.log_output import configure_logging
from edgeproof.app.preconditions import demand_safe_bind, free_port, sole_use
from edgeproof.app.serve import DATABASE_VARIABLE, Ready, ServeConfig
from edgeproof.app.static_keys import read_static_keys
from edgeproof.cli.use_cases import UpOptions
from edgeproof.contract.errors import EdgeproofError, Unavailable

_log = logging.getLogger(__name__)

FIRST_DELAY: Final = 0.2
LONGEST_DELAY: Final = 5.0
GOOD_SECONDS: Final = 10.0
"""A child that lived so long is started again at once; one that did not, after a growing delay."""
_READY_SECONDS: Final = 60.0

Announce = Callable[[Ready], None]
T = TypeVar("T")


def run_up(options: UpOptions) -> None:
    """Returns after SIGINT or SIGTERM, which are how it is meant to end. Raises ``EdgeproofError`` when it
    cannot start."""
    if options.parent_pid is not None:
        die_with_parent(options.parent_pid)
    configure_logging(options.log_format)
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
    """Runs until ``stop`` is set, also while it still starts."""
    demand_safe_bind(options)
    if options.runner_keys is not None:
        read_static_keys(options.runner_keys)  # what cannot be read is an error before anything starts
    data_dir = options.data_dir.resolve()
    with sole_use(data_dir):
        artifact_place(data_dir)  # before anything is started: is it a place at all?
        config = serve_config(options, data_dir, free_port(options.host, options.port))
        async with _beside(_system(options, config, announce)) as system, _beside(stop.wait()) as stopping:
            await asyncio.wait({system, stopping}, return_when=asyncio.FIRST_COMPLETED)


async def _system(options: UpOptions, config: ServeConfig, announce: Announce) -> None:
    """Runs until cancelled; ends by itself only when it cannot start."""
    ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
    async with (
        ground_database(Path(config.data_dir)) as database,
        _beside(_keep_server(config, database, ready)) as serving,
    ):
        first: set[asyncio.Future[Any]] = {serving, ready}
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            return
        announce(ready.result())
        if not options.runners:
            await asyncio.wait({serving})
            return
        async with _beside(_keep_runner(config, ready.result())) as working:
            await asyncio.wait({serving, working}, return_when=asyncio.FIRST_COMPLETED)


async def _keep_server(config: ServeConfig, database: GroundDatabase, ready: asyncio.Future[Ready]) -> None:
    delays = _Delays()
    dsn = await database.start()
    while True:
        try:
            server, told = await _start_server(config, dsn)
        except Unavailable as error:
            if not ready.done():
                raise
            _log.warning("%s", error.detail)
        else:
            if not ready.done():
                ready.set_result(told)
            delays.started()
            async with _beside(database.ended()) as ended, _beside(server.wait()) as waiting:
                try:
                    await asyncio.wait({ended, waiting}, return_when=asyncio.FIRST_COMPLETED)
                    gone = "PostgreSQL" if ended.done() else f"the control plane ({server.returncode})"
                    _log.warning("%s ended by itself, starting it again", gone)
                finally:
                    await stop_process(server)
        await delays.pause()
        dsn = await _restart(database, dsn, delays)


async def _restart(database: GroundDatabase, dsn: str, delays: _Delays) -> str:
    """The address of a database that runs: ``dsn``, or another after however many starts it took."""
    async with _beside(database.ended()) as ended:
        # One turn of the loop: a database that has ended says so.
        await asyncio.wait({ended}, timeout=0.01)
        if not ended.done():
            return dsn
    while True:
        try:
            return await database.start()
        except EdgeproofError as error:
            _log.warning("PostgreSQL did not start: %s", error.detail)
            await delays.pause()


async def _keep_runner(config: ServeConfig, ready: Ready) -> None:
    delays = _Delays()
    while True:
        runner = await _start_runner(config, ready)
        delays.started()
        try:
            await runner.wait()
        finally:
            await stop_process(runner)
        _log.warning("the local runner ended by itself (%s), starting it again", runner.returncode)
        await delays.pause()


class _Delays:
    """How long to wait before the next start of what ended."""

    def __init__(self) -> None:
        self._delay = FIRST_DELAY
        self._since = 0.0

    def started(self) -> None:
        self._since = asyncio.get_running_loop().time()

    async def pause(self) -> None:
        if asyncio.get_running_loop().time() - self._since > GOOD_SECONDS:
            self._delay = FIRST_DELAY
        await asyncio.sleep(self._delay)
        self._delay = min(self._delay * 2, LONGEST_DELAY)


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """``work`` as a task that does not outlive the block; its own error leaves the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()


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
    try:
        return server, await _ready(server)
    except BaseException:
        await stop_process(server)
        raise


async def _ready(server: asyncio.subprocess.Process) -> Ready:
    assert server.stdout is not None
    try:
        async with asyncio.timeout(_READY_SECONDS):
            line = await server.stdout.readline()
    except TimeoutError:
        raise Unavailable(
            "unavailable", f"the control plane was not ready in {_READY_SECONDS:.0f} s"
        ) from None
    if not line:
        raise Unavailable("unavailable", f"the control plane did not start (exit {await server.wait()})")
    return msgspec.json.decode(line, type=Ready)


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
        "--drain-seconds",
        "0",
        "--parent-pid",
        str(os.getpid()),
        "--log-format",
        config.log_format,
        *(["--ca-file", config.tls_cert] if config.tls_cert else []),
        stdin=asyncio.subprocess.DEVNULL,
        env=_environment(),
        start_new_session=True,
    )


def _environment() -> dict[str, str]:
    """Ours without what only the control plane may know."""
    return {
        name: value for name, value in os.environ.items() if name != DATABASE_VARIABLE and not is_secret(name)
    }


def serve_config(options: UpOptions, data_dir: Path, port: int) -> ServeConfig:
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
        stage_lease_seconds=dict(options.stage_lease_seconds),
        quarantine_after=options.quarantine_after,
        max_attempts=options.max_attempts,
        upload_quota_bytes=options.upload_quota_bytes,
        artifact_ttl_seconds=options.artifact_ttl_seconds,
        events_kept_seconds=options.events_kept_seconds,
        idempotency_kept_seconds=options.idempotency_kept_seconds,
        log_format=options.log_format,
        metrics_open=options.metrics_open,
        dev=options.dev,
        runner_keys=str(options.runner_keys.resolve()) if options.runner_keys else None,
        local_runner=options.runners > 0,
    )
