"""Many results at once: each goes ``finish.submit``'s way and is fenced, verified and answered by itself."""

from __future__ import annotations

import asyncio
from typing import Final

from edgeproof.contract.errors import EdgeproofError
from edgeproof.contract.runners import SubmitAnswers, SubmitBatch, SubmitItem, SubmittedRun
from edgeproof.domain.runs import parse_lease
from edgeproof.server.control_plane import ControlPlane, Principal
from edgeproof.server.finish import submit
from edgeproof.server.principals import require

AT_ONCE: Final = 6
"""Each takes a connection: well below the pool's size, so that heartbeats find one."""


async def submit_batch(plane: ControlPlane, principal: Principal, batch: SubmitBatch) -> SubmitAnswers:
    """One answer for each item, in their order; one item's trouble is not the others'.

    Raises ``Refused`` (``forbidden``).
    """
    require(principal, "runner")
    places = asyncio.Semaphore(AT_ONCE)

    async def one(item: SubmitItem) -> SubmittedRun:
        async with places:
            try:
                lease = parse_lease(item.lease)
                # A lone surrogate has no bytes; what was signed had some.
                envelope = item.envelope.encode("utf-8", "surrogatepass")
                answer = await submit(plane, principal, item.run_id, lease, envelope)
            except EdgeproofError as error:
                return SubmittedRun(run_id=item.run_id, problem=error.problem())
            return SubmittedRun(run_id=item.run_id, answer=answer)

    return SubmitAnswers(items=tuple(await asyncio.gather(*(one(item) for item in batch.items))))
