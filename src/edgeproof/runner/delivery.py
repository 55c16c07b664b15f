"""Hands signed results to the control plane, from the outbox, until it has answered for good."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Final

from edgeproof.contract.errors import EdgeproofError, Refused, StageFailed, Unavailable
from edgeproof.contract.log_ids import about
from edgeproof.contract.runners import FailRequest
from edgeproof.domain.runs import Lease
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

_MESSAGE_CHARACTERS: Final = 4000
_EVIDENCE_ITEMS: Final = 50


class Delivery:
    """Of results and of failures; ``outbox`` holds what was not delivered yet. ``patience`` in seconds."""

    def __init__(self, session: Session, outbox: Outbox, patience: float = PATIENCE_SECONDS) -> None:
        self._session = session
        self._outbox = outbox
        self._patience = patience

    async def deliver(self, result: PendingResult, stop: asyncio.Event) -> None:
        """Keep ``result`` and submit it; it stays kept until it is taken or refused for good.

        A result that is refused for good (``FINAL``) is dropped, and unless its lease was lost, its run is
        reported as failed.
        Where it cannot be kept, for a full disk, it is delivered all the same, now or never: if that fails,
        it is lost, and the run is handed back as failed (``disk_full``).
        """
        unkept: OSError | None = None
        try:
            self._outbox.put(result)
        except OSError as error:
            unkept = error
            _log.error("run %s: the result cannot be kept: %s", result.run_id, error)
        hindrance = await self._hand_in(result, stop)
        if hindrance is None:
            return
        if unkept is None:
            _kept(result, hindrance)
            return
        _log.error("run %s: result lost, neither kept nor delivered (%s)", result.run_id, hindrance)
        detail = f"the result could neither be kept ({unkept.strerror}) nor delivered ({hindrance.code})"
        await self.report(result.run_id, result.lease, StageFailed("disk_full", detail))

    async def deliver_pending(self, stop: asyncio.Event) -> None:
        """What an earlier process or an absent control plane left undelivered."""
        for result in self._outbox.pending():
            with about(job_id=result.job_id, run_id=result.run_id):
                hindrance = await self._hand_in(result, stop)
                if hindrance is not None:
                    _kept(result, hindrance)

    async def _hand_in(self, result: PendingResult, stop: asyncio.Event) -> EdgeproofError | None:
        """Submit ``result``, and drop it once it is answered for good; else, what hinders that for now."""
        ask = partial(
            self._session.control_plane.submit, result.run_id, result.lease, result.envelope.encode()
        )
        try:
            await self._session.persist(ask, stop, patience=self._patience)
            _log.info("run %s: submitted", result.run_id)
        except Unavailable as error:
            return error
        except Refused as error:
            if error.code not in FINAL:
                return error
            _log.warning("run %s: result dropped, refused as %s", result.run_id, error)
            if error.code != "stale_lease":
                failure = StageFailed(error.code, error.detail, fault="infrastructure")
                await self.report(result.run_id, result.lease, failure)
        self._outbox.drop(result.run_id)
        return None

    async def report(self, run_id: str, lease: Lease, error: StageFailed) -> None:
        """Say that the run failed, if the control plane can be told."""
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


def _kept(result: PendingResult, hindrance: EdgeproofError) -> None:
    _log.warning("run %s: result kept, not delivered yet (%s)", result.run_id, hindrance)
