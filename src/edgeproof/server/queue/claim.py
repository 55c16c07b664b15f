"""A runner asks for work: the oldest runs that it can do, under new leases, with their signed job specs.

What a runner can do was matched to classes when its capabilities changed; nothing is matched here. A wake-up
only shortens the wait: the queue is asked again after a bound anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from edgeproof.contract.log_ids import about
from edgeproof.contract.runners import ClaimedRun, ClaimRequest, RunnerStanding
from edgeproof.server.db.turns import Turn, turn_key
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import require
from edgeproof.server.plane.waiting import called
from edgeproof.server.queue.arrive import Caller, arrive
from edgeproof.server.queue.grant import grant

_logger = logging.getLogger(__name__)

_POLL_SECONDS: Final = 30.0
"""At most; each waiter looks after a random share of it, so that a fleet does not look all at once. It is for
calls that were lost with a replica; as long as a claim may wait, since the next claim looks anyway."""

_UNNUMBERED: Final = -1

# What the claim's statement asks of a runner and its classes before it looks at their runs.
_CLASSES: Final = """
SELECT class_id FROM runners
JOIN runner_classes USING (runner_id) JOIN requirement_classes c USING (class_id)
WHERE runner_id = $1 AND standing = 'active' AND EXISTS (SELECT FROM good_keys WHERE public_key = $2)
  AND NOT (c.stage = 'runtime' AND (SELECT EXISTS (
      SELECT FROM run_queue q JOIN requirement_classes m USING (class_id)
      WHERE q.state = 'CLAIMED' AND q.runner_id = $1 AND m.stage = 'runtime')))
  AND NOT EXISTS (SELECT FROM run_queue
      WHERE state = 'CLAIMED' AND runner_id = $1 AND runner_key = $2 AND claim_number > $3::bigint)
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim came to: ``runs``, none when none came in time, and the standing of who asked."""

    runs: tuple[ClaimedRun, ...]
    standing: RunnerStanding
    reason: str


async def claim(plane: ControlPlane, principal: Principal, request: ClaimRequest) -> ClaimedRun | None:
    """One lease, or None. Raises as ``claim_runs``."""
    runs = (await claim_runs(plane, principal, request)).runs
    return runs[0] if runs else None


async def claim_runs(plane: ControlPlane, principal: Principal, request: ClaimRequest) -> Claim:
    """Leases on up to ``request.max_runs`` runs; none when none came within ``request.wait_seconds``, when
    the runner is not to work now, or when the server stops.

    Raises ``Refused`` (``forbidden``; ``unauthenticated`` for a runner that is not registered).
    """
    require(principal, "runner")
    caller = _caller(principal, request)
    me = await arrive(plane, caller, request)
    count = request.max_runs or 1
    clock = asyncio.get_running_loop()
    deadline = clock.time() + request.wait_seconds
    runs: tuple[ClaimedRun, ...] = ()
    if me["late"]:
        async with plane.database.wait_for_runs(frozenset()) as turn:
            await called(plane, turn, request.wait_seconds)
        return Claim((), me["standing"], me["standing_reason"])
    if me["standing"] == "active":
        runs = (await grant(plane, caller, count))[0]
    if not runs and request.wait_seconds > 0:
        async with plane.database.wait_for_runs(frozenset({turn_key(0, caller.runner_id)})) as turn:
            with plane.meters.waiting.track_inprogress(), _waits(plane, caller):
                runs = await _wait(plane, caller, turn, deadline, count)
    for run in runs:
        plane.meters.claims.labels(run.stage).inc()
        with about(job_id=run.job_id, run_id=run.run_id, runner_id=principal.runner_id):
            _logger.info("lease granted, attempt %s, stage %s", run.attempt, run.stage)
    standing: RunnerStanding = "active" if runs else me["standing"]
    return Claim(runs, standing, me["standing_reason"])


async def _wait(
    plane: ControlPlane, caller: Caller, turn: Turn, deadline: float, count: int
) -> tuple[ClaimedRun, ...]:
    clock = asyncio.get_running_loop()
    plane.database.change_keys(turn, await _keys(plane, caller))
    while not plane.stopping.is_set():
        plane.database.look(turn)
        if _is_superseded(plane, caller):
            keys = frozenset[str]()
        else:
            runs, taken = await grant(plane, caller, count)
            if runs:
                turn.use(taken)
                return runs
            keys = await _keys(plane, caller)
        if plane.database.change_keys(turn, keys):
            continue
        left = deadline - clock.time()
        if left <= 0:
            break
        await called(plane, turn, min(left, _POLL_SECONDS * random.uniform(0.5, 1.0)))
    return ()


@contextlib.contextmanager
def _waits(plane: ControlPlane, caller: Caller) -> Iterator[None]:
    """The claim is among those that its key's process waits with."""
    number = _UNNUMBERED if caller.number is None else caller.number
    waiting = plane.waiting_claims.setdefault(caller.key, [])
    waiting.append(number)
    try:
        yield
    finally:
        waiting.remove(number)
        if not waiting:
            plane.waiting_claims.pop(caller.key, None)


def _is_superseded(plane: ControlPlane, caller: Caller) -> bool:
    """Whether a later claim of the same process waits here too: nobody hears the answer to this one any more,
    and a run that it were given would wait for nothing."""
    return caller.number is not None and max(plane.waiting_claims[caller.key]) > caller.number


async def _keys(plane: ControlPlane, caller: Caller) -> frozenset[str]:
    """What the runner is to be called by: its own key, which a release and the end of its measurement call,
    and the classes of which it may have runs now. A call for others would be lost on it."""
    rows = await plane.database.pool.fetch(_CLASSES, caller.runner_id, caller.key, caller.number)
    return frozenset({turn_key(0, caller.runner_id), *(turn_key(row["class_id"], None) for row in rows)})


def _caller(principal: Principal, request: ClaimRequest) -> Caller:
    if principal.runner_id is None or principal.public_key is None:
        raise ValueError("a runner principal has a runner id and a key")
    return Caller(principal.runner_id, principal.public_key, request.number)
