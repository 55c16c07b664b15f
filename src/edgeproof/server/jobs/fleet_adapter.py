"""The fleet: a job becomes runs in our queue, which runners claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import Policy
from edgeproof.contract.statements import RunLimits
from edgeproof.lab import plan
from edgeproof.server.db.database import Connection
from edgeproof.server.db.rows import Row
from edgeproof.server.jobs.job_facts import Runs, order_in, policies_of, runs_of
from edgeproof.server.jobs.worker_adapter import given_up
from edgeproof.server.plane.control_plane import ControlPlane

_RUNNER: Final = "SELECT 1 FROM good_runners WHERE runner_id = $1"


class FleetAdapter:
    """See ``WorkerAdapter``. What a job needs, and what comes next, is ``lab.plan``'s to say."""

    async def admit(self, connection: Connection, summary: Mapping[str, Any]) -> frozenset[str]:
        """Raises ``Refused`` as ``lab.plan.order_of`` does, and ``unknown_runner``."""
        order = order_in(summary)
        runner = order.options.runner
        if runner is not None and await connection.fetchval(_RUNNER, runner) is None:
            raise Refused("unknown_runner", f"no runner {runner!r}")
        return order.inputs()

    def begin(self, summary: Mapping[str, Any], policy: Policy, limits: RunLimits) -> Sequence[plan.Enqueue]:
        return plan.first_runs(plan.JobFacts("queued", False, order_in(summary), policy, limits))

    async def due(
        self, plane: ControlPlane, connection: Connection, jobs: Sequence[Row]
    ) -> Sequence[Sequence[plan.Action]]:
        policies = await policies_of(plane, connection, {job["policy_digest"] for job in jobs})
        runs = await runs_of(plane, connection, [job["job_id"] for job in jobs])
        limits = plane.settings.default_limits
        return [_due(job, policies[job["policy_digest"]], limits, runs[job["job_id"]]) for job in jobs]


def _due(job: Row, policy: Policy, limits: RunLimits, runs: Runs) -> Sequence[plan.Action]:
    try:
        order = order_in(job["input_summary"])
        facts = plan.JobFacts(job["status"], job["cancel_requested_at"] is not None, order, policy, limits)
        return plan.advance(facts, runs.facts())
    except Refused as error:
        return [given_up(error)]
