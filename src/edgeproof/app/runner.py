"""``edgeproof runner start``: wires an agent to its control plane and ends it on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from edgeproof.app.child_process import die_with_parent
from edgeproof.app.log_output import configure_logging
from edgeproof.cli.use_cases import RunnerOptions
from edgeproof.client.address import ServerAddress
from edgeproof.client.transport import ControlPlaneClient
from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import ISOLATION_ORDER, Isolation
from edgeproof.runner.agent import Agent
from edgeproof.runner.engines import boot_id, detect_capabilities, restricted
from edgeproof.runner.handover import disk_bytes
from edgeproof.runner.home import DEFAULT_CACHE_BYTES, RunnerHome, usable
from edgeproof.runner.isolation import detect
from edgeproof.runner.session import Session
from edgeproof.runner.state import read_joined
from edgeproof.runner.stopping import Stopping


def run_runner(options: RunnerOptions) -> int:
    """Returns how many runs were done, after SIGINT or SIGTERM or ``max_runs`` runs."""
    if options.parent_pid is not None:
        die_with_parent(options.parent_pid)
    configure_logging(options.log_format)
    return asyncio.run(_run(options))


async def _run(options: RunnerOptions) -> int:
    home = RunnerHome(
        options.home,
        hide=_private_folder(options),
        cache_bytes=cache_bytes(options.home, options.cache_bytes),
    )
    address, ca_file = _control_plane(options, home)
    stopping = Stopping(options.drain_seconds)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.ask)
    detected = detect_capabilities(await isolation_level(options.isolation), dict(options.labels))
    capabilities = restricted(detected, options.only)
    try:
        async with ControlPlaneClient(address, ca_file=ca_file) as client:
            session = Session(client, home.signing_key(), capabilities, _enrolment_token(options))
            with telling_the_key(session.key.public):
                return await Agent(session, home, boot_id()).serve(
                    stopping.draining, hand_back=stopping.now, max_runs=options.max_runs
                )
    finally:
        stopping.close()


def cache_bytes(folder: Path, asked: int | None) -> int:
    """As asked; else 16 GiB, or half of what the disk has for the caches of that home, if that is less."""
    if asked is not None:
        return asked
    home = RunnerHome(folder)
    taken = disk_bytes(home.inputs) + disk_bytes(home.builds)
    return min(DEFAULT_CACHE_BYTES, (shutil.disk_usage(home.root).free + taken) // 2)


def _control_plane(options: RunnerOptions, home: RunnerHome) -> tuple[ServerAddress, str | None]:
    """The pinned address and the CA file: those given, else those joined."""
    ca_file = str(options.ca_file) if options.ca_file else None
    if options.server is not None:
        return pinned(options.server), ca_file
    with usable(home.root):
        joined = read_joined(home)
    if joined is None:
        raise Refused(
            "not_joined", f"{home.root} has joined no control plane: `edgeproof runner join URL#sha256:KEY`"
        )
    return pinned(joined.server), ca_file or joined.ca_file


def pinned(text: str) -> ServerAddress:
    """Raises ``Refused`` (``fingerprint_required``) for an address without its server's key."""
    address = ServerAddress.parse(text)
    if address.pinned_keyid is None:
        raise Refused(
            "fingerprint_required",
            "name the control plane with its key, URL#sha256:<key>, as `edgeproof up` prints it",
        )
    return address


@contextlib.contextmanager
def telling_the_key(key: PublicKey) -> Iterator[None]:
    """A refusal of ``key`` (``key_not_allowed``) names it, and says how an admin allows it."""
    try:
        yield
    except Refused as error:
        if error.code != "key_not_allowed":
            raise
        remedy = f"an admin allows it by `edgeproof fleet keys add {key.base64}`"
        raise Refused(error.code, f"{error.detail}; {remedy}") from error


async def isolation_level(wanted: str | None) -> Isolation:
    """The level asked for, if this machine has it; else the highest it has."""
    best = await detect()
    if wanted is None:
        return best
    level = next((one for one in get_args(Isolation) if one == wanted), None)
    if level is None or ISOLATION_ORDER.index(level) > ISOLATION_ORDER.index(best):
        raise Refused("isolation_unavailable", f"isolation {wanted!r} is not to be had here, {best!r} is")
    return ISOLATION_ORDER[ISOLATION_ORDER.index(level)]


def _private_folder(options: RunnerOptions) -> Path | None:
    """The folder of ``up``, where the runner's home lies in it beside tokens that no stage may read."""
    if options.token_file is None:
        return None
    folder = options.token_file.resolve().parent
    return folder if options.home.resolve().is_relative_to(folder) else None


def _enrolment_token(options: RunnerOptions) -> str | None:
    if options.token_file is not None and options.token_file.exists():
        return options.token_file.read_text().strip()
    return options.token
