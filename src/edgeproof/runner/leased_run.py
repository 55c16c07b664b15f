"""One claimed run, from its job spec to a signed result that is to be delivered, or to a failure.

The work goes on while the control plane is away. It is stopped by the loss of the lease, by a wish to
cancel, or by the runner's own end, and then nothing of it is submitted.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path
from typing import Final, NamedTuple

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.errors import Refused, StageFailed, Unavailable
from edgeproof.contract.runners import ClaimedRun
from edgeproof.domain.runs import Lease
from edgeproof.runner.attest import Attestor
from edgeproof.runner.home import DISK_FULL, RunnerHome
from edgeproof.runner.job_spec import accept
from edgeproof.runner.lease_keeper import LeaseKeeper
from edgeproof.runner.outbox import PendingResult
from edgeproof.runner.session import Session
from edgeproof.runner.work import Product, Work, do_work

_log = logging.getLogger(__name__)

TRANSFER_PATIENCE_SECONDS: Final = 300.0


class Finished(NamedTuple):
    """A result to deliver, and the files that it names by digest, which lie in the run's workspace."""

    result: PendingResult
    files: dict[str, Path]


Outcome = Finished | StageFailed | None
"""What to deliver, a failure to report, or None: the lease is lost and there is nothing to say."""


class LeasedRun:
    """``boot_id`` names this boot of the device, as every statement it signs does.

    The workspace is there until ``clear``: what was made in it is still to be delivered.
    """

    def __init__(
        self, session: Session, home: RunnerHome, boot_id: str, claimed: ClaimedRun, work: Work = do_work
    ) -> None:
        self._session = session
        self._home = home
        self._boot_id = boot_id
        self._claimed = claimed
        self._do_work = work
        self._workspace: Path | None = None
        self.lease = Lease(claimed.attempt, claimed.lease_token)
        self.keeper = LeaseKeeper(session, claimed.run_id, self.lease, claimed.heartbeat_seconds)

    def clear(self) -> None:
        """Remove the workspace."""
        if self._workspace is not None:
            shutil.rmtree(self._workspace, ignore_errors=True)

    async def outcome(self, keeping: asyncio.Task[str], stop: asyncio.Event) -> Outcome:
        """Do the work, unless ``keeping`` (the keeper's task) or ``stop`` ends it first."""
        working = asyncio.create_task(self._work())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({keeping, working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            ending = keeping.result() if keeping.done() else "handed_back"
        finally:
            working.cancel()
            stopping.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)
        if ending == "cancel_requested":
            return StageFailed("cancelled")
        if ending == "handed_back":
            _log.info("run %s: handed back", self._claimed.run_id)
            return StageFailed("handed_back", fault="infrastructure", retryable=True)
        return None

    async def _work(self) -> Outcome:
        run_id = self._claimed.run_id
        try:
            self._workspace = self._home.new_workspace()
            product = await self._produce(self._workspace)
            result = PendingResult(
                run_id=run_id,
                job_id=self._claimed.job_id,
                attempt=self.lease.attempt,
                lease_token=self.lease.token,
                heartbeat_seconds=self._claimed.heartbeat_seconds,
                envelope=product.envelope.decode(),
            )
            return Finished(result, product.files)
        except StageFailed as error:
            _log.warning("run %s: %s", run_id, error)
            return error
        except Refused as error:
            _log.warning("run %s: refused: %s", run_id, error)
            if error.code == "stale_lease":
                return None
            return StageFailed(error.code, error.detail, fault="infrastructure")
        except Unavailable as error:
            _log.warning("run %s: given up: %s", run_id, error)
            return StageFailed(error.code, error.detail, fault="infrastructure", retryable=True)
        except OSError as error:
            _log.exception("run %s: this device failed", run_id)
            code = "disk_full" if error.errno in DISK_FULL else "stage_crashed"
            return StageFailed(code, str(error), fault="device", retryable=True)

    async def _produce(self, workspace: Path) -> Product:
        key = self._session.key
        spec = accept(self._claimed, await self._session.server_key(), key.public)
        attestor = Attestor(
            key=key,
            spec=spec,
            job_spec=sha256_hex(self._claimed.job_spec.encode()),
            boot_id=self._boot_id,
            isolation=self._session.capabilities.isolation,
        )
        return await self._do_work(attestor, self._home, workspace, self._fetch, self.keeper.note)

    async def _fetch(self, digest: str, path: Path) -> None:
        async def ask() -> None:
            try:
                await self._session.control_plane.download(
                    digest, path, run_id=self._claimed.run_id, lease=self.lease
                )
            except Unavailable as error:
                if error.code != "disk_full":
                    raise
                # The disk is ours, not the control plane's: asking again does not help.
                raise StageFailed("disk_full", error.detail, fault="device", retryable=True) from error
            except Refused as error:
                if error.code != "artifact_digest_mismatch":
                    raise
                # Somebody between us and the control plane answered, or spoilt its answer.
                raise StageFailed(error.code, error.detail, fault="infrastructure", retryable=True) from error

        await self._session.persist(ask, patience=TRANSFER_PATIENCE_SECONDS)
