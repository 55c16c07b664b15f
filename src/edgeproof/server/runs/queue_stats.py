"""How the run queue stands, for operators: it reads all that waits, so it is not for every second."""

from __future__ import annotations

from typing import Final

import msgspec

from edgeproof.contract.queue import ClassStats, QueueStats
from edgeproof.contract.runners import Needs
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import require

_CLASSES: Final = """
SELECT c.class_id, c.needs, q.pending, q.leased, q.expired,
    extract(epoch FROM clock_timestamp() - q.oldest)::float8 AS oldest_seconds,
    (SELECT count(*) FROM runner_classes rc JOIN good_runners USING (runner_id) JOIN runners USING (runner_id)
     WHERE rc.class_id = c.class_id AND standing = 'active') AS runners
FROM (
    SELECT class_id, count(*) FILTER (WHERE state = 'PENDING') AS pending,
        count(*) FILTER (WHERE state = 'CLAIMED') AS leased,
        count(*) FILTER (WHERE lease_expires_at <= clock_timestamp()) AS expired,
        min(queued_at) FILTER (WHERE state = 'PENDING') AS oldest
    FROM run_queue GROUP BY class_id
) q JOIN requirement_classes c USING (class_id)
ORDER BY q.pending DESC, c.class_id
"""
_RUNNERS: Final = """
SELECT count(*) FILTER (WHERE standing = 'active') AS active,
    count(*) FILTER (WHERE standing = 'draining') AS draining,
    count(*) FILTER (WHERE standing = 'quarantined') AS quarantined,
    (SELECT count(*) FROM run_outcomes WHERE exhausted) AS dead
FROM good_runners JOIN runners USING (runner_id)
"""


async def queue_stats(plane: ControlPlane, principal: Principal) -> QueueStats:
    """Classes with the most that waits first. Raises ``Refused`` (``forbidden``)."""
    require(principal, "admin")
    async with plane.database.transaction() as connection:
        classes = await connection.fetch(_CLASSES)
        (runners,) = await connection.fetch(_RUNNERS)
    return QueueStats(
        pending=sum(row["pending"] for row in classes),
        leased=sum(row["leased"] for row in classes),
        expired=sum(row["expired"] for row in classes),
        dead=runners["dead"],
        active_runners=runners["active"],
        draining_runners=runners["draining"],
        quarantined_runners=runners["quarantined"],
        classes=tuple(
            ClassStats(
                class_id=row["class_id"],
                needs=msgspec.convert(row["needs"], Needs),
                pending=row["pending"],
                leased=row["leased"],
                runners=row["runners"],
                oldest_seconds=row["oldest_seconds"],
            )
            for row in classes
        ),
    )
