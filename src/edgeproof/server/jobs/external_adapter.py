"""A Forge or Runtime that is not ours: the job waits until one fetches its worker request and answers.

It has no runs and no lease. Backends, targets and paths are the worker's affair, so none is refused and no
path is opened; artifacts named by digest are kept for the worker to fetch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from edgeproof.contract.errors import Refused
from edgeproof.contract.ids import digest_of_uri
from edgeproof.contract.policy import Policy
from edgeproof.contract.requests import AnalyzeOptions
from edgeproof.contract.statements import RunLimits
from edgeproof.lab.plan import Action, CancelJob, Enqueue
from edgeproof.lab.worker_request import options_of
from edgeproof.server.db.database import Connection
from edgeproof.server.db.rows import Row
from edgeproof.server.plane.control_plane import ControlPlane

_WORKER: Final = """
SELECT 1 FROM principals WHERE principal_id = $1 AND kind = 'external' AND revoked_at IS NULL
"""
_PATHS: Final = ("model_path", "artifact_path", "metadata_path", "manifest_path")


class ExternalAdapter:
    """See ``WorkerAdapter``."""

    async def admit(self, connection: Connection, summary: Mapping[str, Any]) -> frozenset[str]:
        """Raises ``Refused`` (``invalid_request``, ``unknown_worker``)."""
        options = options_of(summary["options"])
        worker = options.worker
        if worker is not None and await connection.fetchval(_WORKER, worker) is None:
            raise Refused("unknown_worker", f"no external worker {worker!r}")
        named = [summary.get(path) for path in _PATHS] + _named_in(options)
        return frozenset(digest for one in named if one and (digest := digest_of_uri(one)) is not None)

    def begin(self, summary: Mapping[str, Any], policy: Policy, limits: RunLimits) -> Sequence[Enqueue]:
        """No run of ours: the job waits to be fetched."""
        return ()

    async def due(
        self, plane: ControlPlane, connection: Connection, jobs: Sequence[Row]
    ) -> Sequence[Sequence[Action]]:
        """A job that nobody holds is cancelled at once; otherwise its worker has the next word."""
        return [[CancelJob()] if job["cancel_requested_at"] is not None else [] for job in jobs]


def _named_in(options: AnalyzeOptions) -> list[str | None]:
    named = [options.calibration, options.dataset]
    if options.baseline is not None:
        named += [options.baseline.model_path, options.baseline.artifact_path, options.baseline.calibration]
    return named
