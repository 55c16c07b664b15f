"""Signed results that were not delivered yet, on disk, so that a restart loses none.

One file a run, and beside it a folder with what the result names and is still to be uploaded. A result leaves
the outbox when the server has answered for good: accepted, or refused for good (``delivery.FINAL``).
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from edgeproof.contract.base import Wire
from edgeproof.contract.canonical import sha256_hex
from edgeproof.domain.runs import Lease
from edgeproof.runner.home import UNREADABLE, write_private

_log = logging.getLogger(__name__)


class PendingResult(Wire, frozen=True, kw_only=True):
    """An envelope as signed, with the lease it was made under. ``job_id`` is for the log alone;
    ``heartbeat_seconds`` is how often the lease is to be renewed."""

    run_id: str
    job_id: str | None = None
    attempt: int
    lease_token: str
    heartbeat_seconds: float = 30.0
    envelope: str

    @property
    def lease(self) -> Lease:
        return Lease(self.attempt, self.lease_token)


class Outbox:
    """``folder`` belongs to one runner process at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, result: PendingResult, files: Mapping[str, Path]) -> None:
        """Keep ``result`` and, by their digests, the ``files`` to be uploaded before it; durable on return.

        Raises ``OSError``, and nothing is kept then.
        """
        try:
            if files:
                self._keep_files(self._files(result.run_id), files)
            write_private(self._path(result.run_id), msgspec.json.encode(result))
        except BaseException:
            shutil.rmtree(self._files(result.run_id), ignore_errors=True)
            raise

    def files(self, run_id: str) -> dict[str, Path]:
        """What is still to be uploaded for a kept result, by digest."""
        folder = self._files(run_id)
        return {path.name: path for path in sorted(folder.iterdir())} if folder.is_dir() else {}

    def uploaded(self, run_id: str, digest: str) -> None:
        """The control plane has that file."""
        folder = self._files(run_id)
        with contextlib.suppress(OSError):
            (folder / digest).unlink(missing_ok=True)
            folder.rmdir()

    def drop(self, run_id: str) -> None:
        self._path(run_id).unlink(missing_ok=True)
        shutil.rmtree(self._files(run_id), ignore_errors=True)

    def tidy(self) -> None:
        """Remove files whose result is not here: their process ended before it was kept, or while it was
        dropped."""
        for folder in self._folder.glob("*.files"):
            if not folder.with_suffix(".json").exists():
                shutil.rmtree(folder, ignore_errors=True)

    def pending(self) -> Iterator[PendingResult]:
        for path in sorted(self._folder.glob("*.json")):
            try:
                yield msgspec.json.decode(path.read_bytes(), type=PendingResult)
            except (*UNREADABLE, IsADirectoryError, PermissionError) as error:
                _set_aside(path, error)
            except OSError as error:
                # It may pass, and a signed result is not given up for it.
                _log.error("%s in the outbox cannot be read and is passed over: %s", path.name, error)

    def undelivered(self) -> tuple[str, ...]:
        """The run ids, read only: what cannot be read is passed over and stays."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            with contextlib.suppress(*UNREADABLE, OSError):
                found.append(msgspec.json.decode(path.read_bytes(), type=PendingResult).run_id)
        return tuple(found)

    def holds(self, run_id: str) -> bool:
        return self._path(run_id).exists()

    @staticmethod
    def _keep_files(folder: Path, files: Mapping[str, Path]) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        for digest, path in files.items():
            try:
                (folder / digest).hardlink_to(path)
            except OSError:
                # Not every file system has links.
                shutil.copyfile(path, folder / digest)
            _sync(folder / digest)
        _sync(folder)

    def _path(self, run_id: str) -> Path:
        # A run id is text, never a path: its digest names the file.
        return self._folder / f"{sha256_hex(run_id.encode())}.json"

    def _files(self, run_id: str) -> Path:
        return self._path(run_id).with_suffix(".files")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _set_aside(path: Path, error: Exception) -> None:
    try:
        path.replace(path.with_suffix(".damaged"))
    except OSError as kept:
        _log.error("%s in the outbox is damaged and passed over: %s; %s", path.name, error, kept)
    else:
        _log.error("%s in the outbox is damaged and set aside: %s", path.name, error)
