"""The runner's loop: deliver what is left, claim, do, submit; one run at a time.

Nothing is believed about the outside: a job spec is acted on only if it is signed and meant for us, and a
result leaves the device only after it lies, signed, in the outbox.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.errors import EdgeproofError, Refused, StageFailed, Unavailable
from edgeproof.contract.runners import ClaimedRun, ClaimRequest, FailRequest
from edgeproof.domain.runs import Lease
from edgeproof.runner.attest import Attestor
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.job_spec import accept
from edgeproof.runner.lease_keeper import LeaseKeeper
from edgeproof.runner.outbox import Outbox, PendingResult
from edgeproof.runner.session import Session
from edgeproof.runner.work import Product, do_work

_log = logging.getLogger(__name__)

CLAIM_WAIT_SECONDS = 25.0


class Agent:
    """One runner. ``boot_id`` names this boot of the device, as every statement it signs does."""

    def __init__(self, session: Session, home: RunnerHome, boot_id: str) -> None:
        self._session = session
        self._home = home
        self._boot_id = boot_id
        self._outbox = Outbox(home.outbox)

    async def serve(self, stop: asyncio.Event, *, max_runs: int | None = None) -> int:
        """Work until ``stop`` is set or ``max_runs`` runs were done; returns how many were done.

        A run under way when ``stop`` is set is handed back.
        """
        self._home.clear_work()
        done = 0
        try:
            await self._session.persist(self._session.open, stop)
            while not stop.is_set() and (max_runs is None or done < max_runs):
                await self._deliver_pending(stop)
                claimed = await self._claim(stop)
                if claimed is not None:
                    await self._do(claimed, stop)
                    done += 1
        except Unavailable:
            if not stop.is_set():
                raise
        return done

    async def _claim(self, stop: asyncio.Event) -> ClaimedRun | None:
        request = ClaimRequest(wait_seconds=CLAIM_WAIT_SECONDS)
        asking = asyncio.create_task(
            self._session.persist(lambda: self._session.control_plane.claim(request), stop)
        )
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not asking.done():
            # A claim that is granted just now comes back by its lease's expiry.
            asking.cancel()
            return None
        return asking.result()

    async def _do(self, claimed: ClaimedRun, stop: asyncio.Event) -> None:
        _log.info("run %s: claimed, stage %s, attempt %s", claimed.run_id, claimed.stage, claimed.attempt)
        keeper = LeaseKeeper(self._session, claimed)
        keeping = asyncio.create_task(keeper.keep())
        working = asyncio.create_task(self._produce_and_submit(claimed, keeper, stop))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({keeping, working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            else:
                await self._interrupt(claimed, working, keeping)
        finally:
            for task in (keeping, working, stopping):
                task.cancel()
            await asyncio.gather(keeping, working, stopping, return_exceptions=True)

    async def _interrupt(
        self, claimed: ClaimedRun, working: asyncio.Task[None], keeping: asyncio.Task[str]
    ) -> None:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        ending = keeping.result() if keeping.done() else "handed_back"
        if ending == "cancel_requested":
            await self._report(claimed, StageFailed("cancelled"))
        elif ending == "handed_back":
            await self._report(claimed, StageFailed("handed_back", fault="infrastructure", retryable=True))
        else:
            self._outbox.drop(claimed.run_id)

    async def _produce_and_submit(
        self, claimed: ClaimedRun, keeper: LeaseKeeper, stop: asyncio.Event
    ) -> None:
        workspace = self._home.new_workspace()
        lease = Lease(claimed.attempt, claimed.lease_token)
        try:
            product = await self._produce(claimed, keeper, lease, workspace)
            for digest, path in product.files.items():
                await self._session.persist(
                    lambda digest=digest, path=path: self._session.control_plane.upload(  # type: ignore[misc]
                        path, digest, run_id=claimed.run_id, lease=lease
                    ),
                    stop,
                )
            result = PendingResult(
                run_id=claimed.run_id,
                attempt=claimed.attempt,
                lease_token=claimed.lease_token,
                envelope=product.envelope.decode(),
            )
            self._outbox.put(result)
            await self._deliver(result, stop)
        except StageFailed as error:
            _log.warning("run %s: %s", claimed.run_id, error)
            await self._report(claimed, error)
        except Refused as error:
            if error.code == "stale_lease":
                _log.warning("run %s: dropped, its lease was lost", claimed.run_id)
                return
            _log.warning("run %s: %s", claimed.run_id, error)
            await self._report(claimed, StageFailed(error.code, error.detail, fault="infrastructure"))
        except OSError as error:
            _log.exception("run %s: this device failed", claimed.run_id)
            await self._report(
                claimed,
                StageFailed(
                    "disk_full" if error.errno == 28 else "stage_crashed",
                    str(error),
                    fault="device",
                    retryable=True,
                ),
            )
        finally:
            shutil.rmtree(workspace, ignore_errors=True)

    async def _produce(
        self, claimed: ClaimedRun, keeper: LeaseKeeper, lease: Lease, workspace: Path
    ) -> Product:
        key = self._session.key
        spec = accept(claimed, await self._session.server_key(), key.public)
        attestor = Attestor(
            key=key,
            spec=spec,
            job_spec=sha256_hex(claimed.job_spec.encode()),
            boot_id=self._boot_id,
            isolation=self._session.capabilities.isolation,
        )

        async def fetch(digest: str, path: Path) -> None:
            await self._session.persist(
                lambda: self._session.control_plane.download(digest, path, run_id=claimed.run_id, lease=lease)
            )

        return await do_work(attestor, self._home, workspace, fetch, keeper.note)

    async def _report(self, claimed: ClaimedRun, error: StageFailed) -> None:
        request = FailRequest(
            code=error.code,
            message=error.detail[:4000],
            fault=error.fault,
            retryable=error.retryable,
            evidence=error.evidence[:50],
        )
        lease = Lease(claimed.attempt, claimed.lease_token)
        try:
            await self._session.call(lambda: self._session.control_plane.fail(claimed.run_id, lease, request))
        except EdgeproofError as refusal:
            # The lease's expiry says the same to the server, only later.
            _log.warning("run %s: failure not delivered (%s)", claimed.run_id, refusal.code)

    async def _deliver_pending(self, stop: asyncio.Event) -> None:
        for result in self._outbox.pending():
            await self._deliver(result, stop)

    async def _deliver(self, result: PendingResult, stop: asyncio.Event) -> None:
        """Submit until the server answers for good. Raises ``Unavailable`` only once ``stop`` is set."""
        try:
            await self._session.persist(
                lambda: self._session.control_plane.submit(
                    result.run_id, result.lease, result.envelope.encode()
                ),
                stop,
            )
            _log.info("run %s: submitted", result.run_id)
        except Refused as error:
            _log.warning("run %s: result dropped, refused as %s", result.run_id, error)
            self._outbox.drop(result.run_id)
            if error.code != "stale_lease":
                raise StageFailed(error.code, error.detail, fault="infrastructure") from error
            return
        self._outbox.drop(result.run_id)
