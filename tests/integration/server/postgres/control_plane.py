"""A stand-in control plane, run as a process of its own: starts the server, says where, waits to be killed.

Arguments: the data directory; ``once`` stops again after the start.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from edgeproof.server.postgres import EmbeddedPostgres, PostgresError


def say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


async def main() -> None:
    postgres = EmbeddedPostgres(Path(sys.argv[1]))
    began = time.monotonic()
    try:
        address = await postgres.start()
    except PostgresError as error:
        say(code=error.code, message=str(error))
        return
    say(
        dsn=address.dsn(),
        socket_dir=str(address.socket_dir),
        pid=postgres.pid,
        seconds=time.monotonic() - began,
    )
    if "once" not in sys.argv[2:]:
        await postgres.wait()
    await postgres.stop()


asyncio.run(main())
