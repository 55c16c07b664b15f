"""The runner's loop: deliver what is left, claim, do, submit; one run at a time.

Nothing is believed about the outside: a job spec is acted on only if it is signed and meant for us, and a
result leaves the device only after it lies, signed, in the outbox.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Final

from edgeproof.contract.errors import StageFailed, Unavailable
from edgeproof.contract.runners import ClaimedRun, ClaimRequest
from edgeproof.runner.delivery import Delivery
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.leased_run import LeasedRun
from edgeproof.runner.outbox import Outbox
from edgeproof.runner.session import Session

_log = logging.getLogger(__name__)

CLAIM_WAIT_SECONDS: Final = 25.0


class Agent:
    """One runner. ``boot_id`` names this boot of the device, as every statement it signs does."""

    def __init__(self, session: Session, home: RunnerHome, boot_id: str) -> None:
        self._session = session
        self._home = home
        self._boot_id = boot_id
        self._delivery = Delivery(session, Outbox(home.outbox))

    async def serve(self, stop: asyncio.Event, *, max_runs: int | None = None) -> int:
        """Work until ``stop`` is set or ``max_runs`` runs were done; returns how many were done.

        A run under way when ``stop`` is set is handed back. Raises ``Refused`` when the control plane will
        not have this runner, or when another process works in its folder (``already_running``).
        """
        done = 0
        with self._home.sole_owner():
            self._home.clear_work()
            try:
                await self._session.persist(self._session.open, stop)
                while not stop.is_set() and (max_runs is None or done < max_runs):
                    await self._delivery.deliver_pending(stop)
                    claimed = await self._claim(stop)
                    if claimed is not None:
                        await self._do(claimed, stop)
                        done += 1
            except Unavailable:
                if not stop.is_set():
                    raise
        return done

    async def _claim(self, stop: asyncio.Event) -> ClaimedRun | None:
        """The next run; None when there was none, or when ``stop`` was set first.

        A claim that the control plane grants while we turn away is not known to us: our next one ends it.
        """
        # Nothing is under way and the outbox is empty: any lease of ours is of a process that was killed.
        request = ClaimRequest(wait_seconds=CLAIM_WAIT_SECONDS, holding=())
        ask = partial(self._session.control_plane.claim, request)
        asking = asyncio.create_task(self._session.persist(ask, stop))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            # No effect on an answer that is here already.
            asking.cancel()
            await asyncio.gather(asking, stopping, return_exceptions=True)
        return None if asking.cancelled() else asking.result()

    async def _do(self, claimed: ClaimedRun, stop: asyncio.Event) -> None:
        _log.info("run %s: claimed, stage %s, attempt %s", claimed.run_id, claimed.stage, claimed.attempt)
        run = LeasedRun(self._session, self._home, self._boot_id, claimed)
        keeping = asyncio.create_task(run.keeper.keep())
        try:
            outcome = await run.outcome(keeping, stop)
            if isinstance(outcome, StageFailed):
                await self._delivery.report(claimed.run_id, run.lease, outcome)
            elif outcome is not None:
                # From here on the control plane alone says whether the lease still holds.
                await self._delivery.deliver(outcome, stop)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
