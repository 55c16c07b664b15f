"""One question to a control plane as an admin, and its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from edgeproof.cli.options import connection

if TYPE_CHECKING:
    from edgeproof.client.transport import ControlPlaneClient

T = TypeVar("T")


def ask_as_admin(
    context: click.Context,
    server: str | None,
    token: str | None,
    data_dir: Path,
    ask: Callable[[ControlPlaneClient], Awaitable[T]],
    *,
    pinned: bool = False,
) -> T:
    """What an admin's client answers."""
    connected = connection(context, server, token, data_dir, admin=True, pinned=pinned)

    async def work() -> T:
        async with connected.client() as client:
            return await ask(client)

    return asyncio.run(work())
