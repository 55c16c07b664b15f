"""Hands signed results to the control plane, from the outbox, until it has answered for good: what a result
names first, then the result."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from edgeproof.contract.errors import EdgeproofError, Refused, StageFailed, Unavailable
from edgeproof.contract.log_ids import about
from edgeproof.contract.runners import FailRequest
from edgeproof.domain.runs import Lease
from edgeproof.runner.lease_keeper import LeaseKeeper
from edgeproof.runner.outbox import Outbox, PendingResult
from edgeproof.runner.session import Session

_log = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 60.0
"""How long one delivery is tried before the runner turns to other work; it stays in the outbox."""

FINAL: Final = frozenset(
    {
        "stale_lease",
        "different_outcome",
        "result_invalid",
        "not_canonical",
        "envelope_invalid",
        "statement_invalid",
        "signature_invalid",
        "key_unknown",
        "artifact_missing",
        "body_too_large",
    }
)
"""What the control plane will say of these bytes under this lease every time. What was uploaded is not kept
here, so that ``artifact_missing`` is among them. ``key_not_allowed`` is not: the key may be taken back."""
_FINAL_FOR_FILES: Final = FINAL | {"quota_exceeded", "artifact_digest_mismatch"}

_MESSAGE_CHARACTERS: Final = 4000
_EVIDENCE_ITEMS: Final = 50


class Delivery:
    """Of results and of failures; ``outbox`` holds what was not delivered yet. ``patience`` in seconds."""

    def __init__(self, session: Session, outbox: Outbox, patience: float = PATIENCE_SECONDS) -> None:
        self._session = session
        self._outbox = outbox
        self._patience = patience
        self._renewed: set[str] = set()
        """Runs whose leases were renewed while their results were delivered late."""

    async def deliver(
        self, result: PendingResult, files: Mapping[str, Path], stop: asyncio.Event
    ) -> StageFailed | None:
        """Keep ``result`` and the ``files`` that it names, upload them and submit it; it stays kept until it
        is taken or refused for good.

        A result that is refused for good (``FINAL``) is dropped, and unless its lease was lost, its run is
        reported as failed: the failure is returned.
        Where it cannot be kept, for a full disk, it is delivered all the same, now or never: if that fails,
        it is lost, and the run is handed back as failed (``disk_full``).
        """
        unkept: OSError | None = None
        try:
            await asyncio.to_thread(self._outbox.put, result, files)
            files = self._outbox.files(result.run_id)
        except OSError as error:
            unkept = error
            _log.error("run %s: the result cannot be kept: %s", result.run_id, error)
        hindrance, failure = await self._hand_in(result, files, stop)
        if hindrance is None:
            return failure
        if unkept is None:
            _kept(result, hindrance)
            return None
        _log.error("run %s: result lost, neither kept nor delivered (%s)", result.run_id, hindrance)
        detail = f"the result could neither be kept ({unkept.strerror}) nor delivered ({hindrance.code})"
        return await self.report(result.run_id, result.lease, StageFailed("disk_full", detail))

    async def deliver_pending(self, stop: asyncio.Event) -> list[StageFailed]:
        """What an earlier process or an absent control plane left undelivered; the failures reported."""
        failures: list[StageFailed] = []
        for result in self._outbox.pending():
            with about(job_id=result.job_id, run_id=result.run_id):
                files = self._outbox.files(result.run_id)
                async with self._lease_kept(result, files):
                    hindrance, failure = await self._hand_in(result, files, stop)
                if hindrance is not None:
                    _kept(result, hindrance)
                if failure is not None:
                    failures.append(failure)
        return failures

    @contextlib.asynccontextmanager
    async def _lease_kept(self, result: PendingResult, files: Mapping[str, Path]) -> AsyncIterator[None]:
        """An upload may last longer than the lease. Renewed once only in this process: what never gets
        through shall be somebody else's work in the end."""
        if not files or result.run_id in self._renewed:
            yield
            return
        self._renewed.add(result.run_id)
        keeper = LeaseKeeper(self._session, result.run_id, result.lease, result.heartbeat_seconds)
        keeping = asyncio.create_task(keeper.keep())
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _hand_in(
        self, result: PendingResult, files: Mapping[str, Path], stop: asyncio.Event
    ) -> tuple[EdgeproofError | None, StageFailed | None]:
        """Upload and submit, and drop the result once it is answered for good; else, what hinders that for
        now. With it, the failure that was reported."""
        failure: StageFailed | None = None
        final = _FINAL_FOR_FILES
        try:
            for digest, path in files.items():
                await self._upload(result, digest, path, stop)
            final = FINAL
            ask = partial(
                self._session.control_plane.submit, result.run_id, result.lease, result.envelope.encode()
            )
            await self._session.persist(ask, stop, patience=self._patience)
            _log.info("run %s: submitted", result.run_id)
        except Unavailable as error:
            return error, None
        except Refused as error:
            if error.code not in final:
                return error, None
            _log.warning("run %s: result dropped, refused as %s", result.run_id, error)
            if error.code != "stale_lease":
                told = StageFailed(error.code, error.detail, fault="infrastructure")
                failure = await self.report(result.run_id, result.lease, told)
        self._outbox.drop(result.run_id)
        return None, failure

    async def _upload(self, result: PendingResult, digest: str, path: Path, stop: asyncio.Event) -> None:
        upload = partial(
            self._session.control_plane.upload, path, digest, run_id=result.run_id, lease=result.lease
        )
        await self._session.persist(upload, stop, patience=self._patience)
        # After a restart it is not sent again.
        self._outbox.uploaded(result.run_id, digest)

    async def report(self, run_id: str, lease: Lease, error: StageFailed) -> StageFailed:
        """Say that the run failed, if the control plane can be told. Returns ``error``."""
        request = FailRequest(
            code=error.code,
            message=error.detail[:_MESSAGE_CHARACTERS],
            fault=error.fault,
            retryable=error.retryable,
            evidence=error.evidence[:_EVIDENCE_ITEMS],
        )
        try:
            await self._session.call(partial(self._session.control_plane.fail, run_id, lease, request))
        except EdgeproofError as refusal:
            # The lease's expiry says the same to the server, only later.
            _log.warning("run %s: failure not delivered (%s)", run_id, refusal.code)
        return error


def _kept(result: PendingResult, hindrance: EdgeproofError) -> None:
    _log.warning("run %s: result kept, not delivered yet (%s)", result.run_id, hindrance)
