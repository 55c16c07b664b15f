"""Signed results that were not delivered yet, on disk, so that a restart loses none.

One file a run. A result leaves the outbox when the server has answered for good: accepted, or refused
for good (``delivery.FINAL``).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgeproof.contract.base import Wire
from edgeproof.contract.canonical import sha256_hex
from edgeproof.domain.runs import Lease
from edgeproof.runner.home import UNREADABLE, write_private

_log = logging.getLogger(__name__)


class PendingResult(Wire, frozen=True, kw_only=True):
    """An envelope as signed, with the lease it was made under. ``job_id`` is for the log alone."""

    run_id: str
    job_id: str | None = None
    attempt: int
    lease_token: str
    envelope: str

    @property
    def lease(self) -> Lease:
        return Lease(self.attempt, self.lease_token)


class Outbox:
    """``folder`` belongs to one runner process at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, result: PendingResult) -> None:
        write_private(self._path(result.run_id), msgspec.json.encode(result))

    def drop(self, run_id: str) -> None:
        self._path(run_id).unlink(missing_ok=True)

    def pending(self) -> Iterator[PendingResult]:
        for path in sorted(self._folder.glob("*.json")):
            try:
                yield msgspec.json.decode(path.read_bytes(), type=PendingResult)
            except UNREADABLE as error:
                _log.error("%s in the outbox is damaged and set aside: %s", path.name, error)
                path.replace(path.with_suffix(".damaged"))

    def undelivered(self) -> tuple[str, ...]:
        """The run ids, read only: a damaged file is passed over and stays."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            with contextlib.suppress(*UNREADABLE, FileNotFoundError):
                found.append(msgspec.json.decode(path.read_bytes(), type=PendingResult).run_id)
        return tuple(found)

    def holds(self, run_id: str) -> bool:
        return self._path(run_id).exists()

    def _path(self, run_id: str) -> Path:
        # A run id is text, never a path: its digest names the file.
        return self._folder / f"{sha256_hex(run_id.encode())}.json"
