"""The registered runners, as users and admins see them."""

from __future__ import annotations

from typing import Final

import msgspec

from edgeproof.contract.runners import Capabilities, RunnerView
from edgeproof.server.control_plane import ControlPlane, Principal
from edgeproof.server.principals import require
from edgeproof.server.times import utc_text

_LIST: Final = """
SELECT runner_id, hostname, public_key, capabilities, registered_at, last_seen_at,
    standing, standing_reason
FROM runners ORDER BY runner_id LIMIT 10000
"""


async def list_runners(plane: ControlPlane, principal: Principal) -> tuple[RunnerView, ...]:
    """Every registered runner by id, also those that were not seen for long."""
    require(principal, "admin", "user")
    return tuple(
        RunnerView(
            runner_id=row["runner_id"],
            hostname=row["hostname"],
            public_key=row["public_key"],
            capabilities=msgspec.convert(row["capabilities"], Capabilities),
            registered_at=utc_text(row["registered_at"]),
            last_seen_at=utc_text(row["last_seen_at"]),
            standing=row["standing"],
            standing_reason=row["standing_reason"],
        )
        for row in await plane.database.pool.fetch(_LIST)
    )
