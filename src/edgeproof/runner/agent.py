"""The runner's loop: deliver what is left, claim, do, submit; one run at a time.

Nothing is believed about the outside: a job spec is acted on only if it is signed and meant for us, and a
result leaves the device only after it lies, signed, in the outbox.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final, TypeVar

from edgeproof.contract.errors import StageFailed, Unavailable
from edgeproof.contract.log_ids import about
from edgeproof.contract.runners import MAX_HOLDING, ClaimedRun, ClaimRequest, RunnerStanding
from edgeproof.runner.delivery import PATIENCE_SECONDS, Delivery
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.leased_run import Finished, LeasedRun
from edgeproof.runner.outbox import Outbox
from edgeproof.runner.session import Session, pause
from edgeproof.runner.state import RunUnderWay, StateFile, shown
from edgeproof.runner.work import Work, do_work

_log = logging.getLogger(__name__)
T = TypeVar("T")

CLAIM_WAIT_SECONDS: Final = 25.0
LAST_WORDS_SECONDS: Final = 5.0
"""What a report or a delivery has to come through once the runner is to end."""
_TELL_SECONDS: Final = 5.0
_WOULD_MEET_AGAIN: Final = frozenset({"quota_exceeded", "isolation_unavailable", "backend_missing"})
"""Failures that the next run here would end by too. The runner says so instead of using up attempts, and is
quarantined until an operator releases it."""
_UNFIT_CHARACTERS: Final = 500
_CLAIMS_PER_START: Final = 1 << 28


class Agent:
    """One runner. ``boot_id`` names this boot of the device, as every statement it signs does.

    ``work`` does a run's work; another than the default is for tests of everything around it. A delivery is
    tried for ``patience`` seconds before the runner turns to other work.
    """

    def __init__(
        self,
        session: Session,
        home: RunnerHome,
        boot_id: str,
        work: Work = do_work,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._session = session
        self._home = home
        self._boot_id = boot_id
        self._do_work = work
        self._unfit: str | None = None
        self._standing: RunnerStanding | None = None
        self._claims: Iterator[int] | None = None
        """The numbers of the next claims; None where the folder cannot keep what makes them grow."""
        self._outbox = Outbox(home.outbox)
        self._delivery = Delivery(session, self._outbox, patience)
        self._state = StateFile(home.state, session.capabilities.isolation)

    async def serve(
        self, stop: asyncio.Event, *, hand_back: asyncio.Event | None = None, max_runs: int | None = None
    ) -> int:
        """Work until ``stop`` is set or ``max_runs`` runs were done; returns how many were done.

        A run under way when ``stop`` is set goes on until ``hand_back`` is set (default: ``stop`` itself);
        then it is handed back. Raises ``Refused`` when the control plane will not have this runner, or when
        another process works in its folder (``already_running``).
        """
        give_up = stop if hand_back is None else hand_back
        done = 0
        with self._home.sole_owner():
            self._home.clear_work()
            self._outbox.tidy()
            telling = asyncio.create_task(self._keep_telling(stop))
            try:
                await self._session.persist(self._session.open, stop)
                self._tell(stop)
                starts = self._home.count_start()
                self._claims = None if starts is None else count(starts * _CLAIMS_PER_START)
                with about(runner_id=self._session.runner_id):
                    while not stop.is_set() and (max_runs is None or done < max_runs):
                        if await self._turn(stop, give_up):
                            done += 1
                            self._state.tell(run=None, runs_done=done)
            except Unavailable:
                if not stop.is_set():
                    raise
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)
                self._tell(stop)
        return done

    async def _turn(self, stop: asyncio.Event, give_up: asyncio.Event) -> bool:
        """Deliver what is left, claim and do; whether a run was done."""
        for failure in await _soon_after(stop, self._delivery.deliver_pending(stop)) or ():
            self._consider(failure)
        undelivered = self._outbox.undelivered()
        # A claim could not name more of them, and would end the leases that it does not name. And what cannot
        # be uploaded fills the disk.
        if len(undelivered) > MAX_HOLDING or any(map(self._outbox.files, undelivered)):
            _log.warning("%s results wait in the outbox: no new run until then", len(undelivered))
            await self._session.rest(stop)
            return False
        claimed = await self._claim(undelivered, stop)
        if claimed is None:
            return False
        with about(job_id=claimed.job_id, run_id=claimed.run_id):
            await self._do(claimed, give_up)
        return True

    async def _claim(self, undelivered: tuple[str, ...], stop: asyncio.Event) -> ClaimedRun | None:
        """The next run, or None when there was none. Raises ``Unavailable`` when ``stop`` was set first.

        A claim that the control plane grants while we turn away is not known to us: our next one ends it.
        """
        # Nothing is under way, and undelivered results are named: any other lease of ours is of a process
        # that was killed.
        unfit = self._unfit or await asyncio.to_thread(self._home.unfit)

        def ask() -> Awaitable[ClaimedRun | RunnerStanding]:
            request = ClaimRequest(
                # A runner that gets no work is to hear of it at its start, not after the first wait.
                wait_seconds=0.0 if self._standing is None else CLAIM_WAIT_SECONDS,
                holding=undelivered,
                unfit=unfit,
                number=None if self._claims is None else next(self._claims),
            )
            return self._session.control_plane.claim_or_standing(request)

        answer = await self._session.persist(ask, stop)
        # Heard: what follows is the operator's to decide.
        self._unfit = None
        if isinstance(answer, ClaimedRun):
            self._stands("active")
            return answer
        self._stands(answer)
        return None

    def _stands(self, standing: RunnerStanding) -> None:
        if standing == self._standing:
            return
        before, self._standing = self._standing, standing
        self._state.tell(standing=standing)
        if standing != "active":
            _log.warning(
                "%s: the control plane gives this runner no new run until an operator releases it:"
                " `edgeproof fleet release %s`",
                standing,
                self._session.runner_id,
            )
        elif before is not None:
            _log.info("released: the control plane gives this runner runs again")

    async def _do(self, claimed: ClaimedRun, give_up: asyncio.Event) -> None:
        _log.info("run %s: claimed, stage %s, attempt %s", claimed.run_id, claimed.stage, claimed.attempt)
        self._state.tell(run=_under_way(claimed))
        run = LeasedRun(self._session, self._home, self._boot_id, claimed, self._do_work)
        keeping = asyncio.create_task(run.keeper.keep())
        try:
            outcome = await run.outcome(keeping, give_up)
            if isinstance(outcome, Finished):
                outcome = await _soon_after(give_up, self._deliver(outcome, keeping, give_up))
            elif outcome is not None and not await _soon_after(
                give_up, self._delivery.report(claimed.run_id, run.lease, outcome)
            ):
                _log.warning("run %s: failure not delivered in time, its lease will expire", claimed.run_id)
            self._consider(outcome)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            run.clear()

    async def _deliver(
        self, finished: Finished, keeping: asyncio.Task[str], give_up: asyncio.Event
    ) -> StageFailed | None:
        """Of what may hinder it, only a wish to cancel ends it: whether the lease still holds, the control
        plane says from here on. Returns the failure that was reported."""
        result = finished.result
        delivering = asyncio.create_task(self._delivery.deliver(result, finished.files, give_up))
        try:
            await asyncio.wait({delivering, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if delivering.done() or keeping.result() != "cancel_requested":
                return await delivering
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)
        self._outbox.drop(result.run_id)
        return await self._delivery.report(result.run_id, result.lease, StageFailed("cancelled"))

    def _consider(self, failure: StageFailed | None) -> None:
        if failure is not None and failure.code in _WOULD_MEET_AGAIN:
            self._unfit = f"{failure.code}: {failure.detail}"[:_UNFIT_CHARACTERS]

    async def _keep_telling(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._tell(stop)
            await pause(_TELL_SECONDS, stop)
        while True:
            self._tell(stop)
            await asyncio.sleep(_TELL_SECONDS)

    def _tell(self, stop: asyncio.Event) -> None:
        self._state.tell(runner_id=self._session.runner_id, draining=stop.is_set())
        if self._session.last_contact is not None:
            self._state.tell(last_contact_at=shown(self._session.last_contact))


async def _soon_after(stop: asyncio.Event, doing: Coroutine[Any, Any, T]) -> T | None:
    """What ``doing`` comes to; None where it was cancelled, ``LAST_WORDS_SECONDS`` after ``stop`` was set."""
    task = asyncio.create_task(doing)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({task}, timeout=LAST_WORDS_SECONDS)
    finally:
        stopping.cancel()
        task.cancel()
        await asyncio.gather(task, stopping, return_exceptions=True)
    return None if task.cancelled() else task.result()


def _under_way(claimed: ClaimedRun) -> RunUnderWay:
    return RunUnderWay(
        run_id=claimed.run_id,
        job_id=claimed.job_id,
        stage=claimed.stage,
        attempt=claimed.attempt,
        since=shown(datetime.now(UTC)),
    )
