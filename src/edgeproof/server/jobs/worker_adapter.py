"""The worker adapter port: how the Lab hands a job's work to those who do it (seed 000).

The Lab knows this port and no queue behind it. A job names its adapter when it is created
(``options.adapter``); which there are is said in ``server.adapters``. What an adapter must hold is a suite:
``edgeproof.testing.worker_adapter``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobError
from edgeproof.contract.policy import Policy
from edgeproof.contract.statements import RunLimits
from edgeproof.lab.plan import Action, Enqueue, FailJob
from edgeproof.server.db.database import Connection
from edgeproof.server.db.rows import Row
from edgeproof.server.plane.control_plane import ControlPlane


class WorkerAdapter(Protocol):
    """One way to hand work over. It changes nothing itself: whoever asks applies the actions."""

    async def admit(self, connection: Connection, summary: Mapping[str, Any]) -> frozenset[str]:
        """The digests of all artifacts that a job with this input summary names as inputs.

        Raises ``Refused`` for a job whose work could never be handed over this way.
        """
        ...

    def begin(self, summary: Mapping[str, Any], policy: Policy, limits: RunLimits) -> Sequence[Enqueue]:
        """The runs that an admitted job begins with; empty: somebody else's turn."""
        ...

    async def due(
        self, plane: ControlPlane, connection: Connection, jobs: Sequence[Row]
    ) -> Sequence[Sequence[Action]]:
        """What is due now for each of these active jobs, in their order; empty: it waits. Asked again after
        every change. A job that no longer can be handed over is ``given_up``.

        ``jobs`` have the columns of ``job_endings.LOCK_JOB`` and are locked.
        """
        ...


def given_up(error: Refused) -> FailJob:
    """What becomes of a job that was accepted once, by another release, and can go no further."""
    return FailJob(JobError(code=error.code, message=error.detail, stage="lab_validation"))
