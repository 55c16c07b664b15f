"""``edgeproof runner join``: registers this machine's runner once, and keeps where, and with which key."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from edgeproof.app.runner import pinned, telling_the_key
from edgeproof.cli.use_cases import JoinOptions, JoinReport
from edgeproof.client.address import ServerAddress
from edgeproof.client.transport import ControlPlaneClient
from edgeproof.contract.errors import Refused
from edgeproof.runner.engines import detect_capabilities
from edgeproof.runner.home import RunnerHome, usable
from edgeproof.runner.isolation import detect
from edgeproof.runner.state import Joined, keep_joined, read_joined, shown


def join_control_plane(options: JoinOptions) -> JoinReport:
    """Nothing is kept unless the registration succeeded.

    Raises ``Refused``: ``fingerprint_required``, ``conflict`` for a home that has joined another control
    plane, ``already_running``, ``home_unusable``, ``runner_key_damaged``, and what the control plane
    answers (``key_not_allowed`` …).
    """
    address = pinned(options.server)
    home = RunnerHome(options.home)
    with home.sole_owner():
        with usable(home.root):
            before = read_joined(home)
        if before is not None and not options.replace:
            _demand_same(ServerAddress.parse(before.server), address)
        return asyncio.run(_join(options, address, home))


def _demand_same(before: ServerAddress, address: ServerAddress) -> None:
    if before.pinned_keyid != address.pinned_keyid:
        raise Refused(
            "conflict",
            f"this home has joined {before.url}, another control plane: give --replace, or another --home",
        )


async def _join(options: JoinOptions, address: ServerAddress, home: RunnerHome) -> JoinReport:
    key = home.signing_key()
    isolation = await detect()
    ca_file = str(options.ca_file.resolve()) if options.ca_file else None
    async with ControlPlaneClient(address, ca_file=ca_file) as client:
        with telling_the_key(key.public):
            registered = await client.register(key, detect_capabilities(isolation), options.token)
    joined = Joined(
        server=f"{address.url}#sha256:{address.pinned_keyid}",
        runner_id=registered.runner_id,
        joined_at=shown(datetime.now(UTC)),
        ca_file=ca_file,
    )
    with usable(home.root):
        keep_joined(home, joined)
    return JoinReport(
        runner_id=joined.runner_id, key=key.public.fingerprint, server=joined.server, isolation=isolation
    )
