"""Whether this kernel lets us make a user namespace: asked by making one, since the rules are many."""

from __future__ import annotations

import signal
import sys
import tempfile

from edgeproof.server.postgres.binaries import PostgresBinaries
from edgeproof.server.postgres.child import release, start_child
from edgeproof.server.postgres.identity import namespace_identity


async def namespaces_work(binaries: PostgresBinaries) -> bool:
    """Try it in a child (Linux only), with a program that must be reachable there. About 25 ms."""
    identity = namespace_identity()
    if sys.platform != "linux" or identity is None:
        return False
    with tempfile.TemporaryFile() as output:
        process = await start_child(
            [str(binaries.postgres), "--version"],
            identity=identity,
            death_signal=signal.SIGKILL,
            reach=[binaries.postgres],
            output=output,
        )
        release(process)
        try:
            return await process.wait() == 0
        finally:
            if process.stdin is not None:
                process.stdin.close()
