"""What an operator asks of the control plane: the fleet, its keys, the queue, the audit log."""

from __future__ import annotations

from typing import Final

from edgeproof.client.calls import Calls, segment
from edgeproof.contract.audit import AuditList, AuditPage
from edgeproof.contract.fleet import (
    AddKeyRequest,
    RemovedKey,
    RemoveKeyRequest,
    RotatedKey,
    RotateKeyRequest,
    RunnerDetail,
    RunnerKeyList,
    RunnerKeyView,
)
from edgeproof.contract.ids import digest_of_uri
from edgeproof.contract.jobs import JobView
from edgeproof.contract.policies import PolicyView
from edgeproof.contract.policy import Policy
from edgeproof.contract.queue import DeadLetterPage, QueueStats
from edgeproof.contract.runners import (
    EnrolmentTokenList,
    EnrolmentTokenRequest,
    EnrolmentTokenResponse,
    EnrolmentTokenView,
    RunnerList,
    RunnerStanding,
    StandingRequest,
    StandingView,
)
from edgeproof.contract.worker import WorkerList, WorkerToken, WorkerTokenRequest, WorkerView

STANDING_VERBS: Final[dict[RunnerStanding, str]] = {
    "draining": "drain",
    "quarantined": "quarantine",
    "active": "release",
}


class OperatorCalls(Calls):
    """Most of it is for admins."""

    async def create_worker(self, name: str) -> WorkerToken:
        """For admins; the token is shown this once."""
        return await self._post("/api/workers", WorkerTokenRequest(name=name), WorkerToken, idempotent=False)

    async def workers(self) -> WorkerList:
        return await self._get("/api/workers", WorkerList)

    async def revoke_worker(self, worker_id: str) -> WorkerView:
        """For admins. Safe to repeat."""
        return await self._post(
            f"/api/workers/{segment(worker_id)}/revoke", None, WorkerView, idempotent=True
        )

    async def add_policy(self, policy: Policy) -> PolicyView:
        """For admins. Safe to repeat."""
        return await self._post("/api/policies", policy, PolicyView, idempotent=True)

    async def runners(self) -> RunnerList:
        return await self._get("/api/runners", RunnerList)

    async def create_enrolment_token(self, uses: int = 1, ttl_seconds: int = 3600) -> str:
        """For admins; the token is shown this once."""
        request = EnrolmentTokenRequest(uses=uses, ttl_seconds=ttl_seconds)
        answer = await self._post("/api/enrolment-tokens", request, EnrolmentTokenResponse, idempotent=False)
        return answer.token

    async def enrolment_tokens(self) -> EnrolmentTokenList:
        """For admins; never the tokens themselves."""
        return await self._get("/api/enrolment-tokens", EnrolmentTokenList)

    async def revoke_enrolment_token(self, digest: str) -> EnrolmentTokenView:
        """For admins. ``digest`` as listed, also as ``sha256:<hex>``. Safe to repeat."""
        name = digest_of_uri(digest) or digest
        return await self._delete(f"/api/enrolment-tokens/{segment(name)}", EnrolmentTokenView)

    async def runner(self, runner_id: str) -> RunnerDetail:
        """For admins."""
        return await self._get(f"/api/runners/{segment(runner_id)}", RunnerDetail)

    async def runner_keys(self) -> RunnerKeyList:
        """For admins, as the next three."""
        return await self._get("/api/runners/keys", RunnerKeyList)

    async def add_runner_key(self, public_key: str) -> RunnerKeyView:
        request = AddKeyRequest(public_key=public_key)
        return await self._post("/api/runners/keys", request, RunnerKeyView, idempotent=True)

    async def remove_runner_key(self, request: RemoveKeyRequest) -> RemovedKey:
        return await self._post("/api/runners/keys/remove", request, RemovedKey, idempotent=True)

    async def rotate_runner_key(self, request: RotateKeyRequest) -> RotatedKey:
        return await self._post("/api/runners/keys/rotate", request, RotatedKey, idempotent=False)

    async def audit(
        self,
        *,
        before: int | None = None,
        subject: str | None = None,
        actor: str | None = None,
        limit: int | None = None,
    ) -> AuditList:
        """For admins: entries, newest first."""
        asked = {"before": before, "subject": subject, "actor": actor, "limit": limit}
        return await self._get(
            "/api/audit", AuditList, {name: str(value) for name, value in asked.items() if value is not None}
        )

    async def audit_seals(self, *, after: int = 0) -> AuditPage:
        """For admins: one page of the sealed log behind seal ``after``."""
        return await self._get("/api/audit/seals", AuditPage, {"after": str(after)})

    async def set_standing(self, runner_id: str, standing: RunnerStanding, reason: str = "") -> StandingView:
        route = f"/api/runners/{segment(runner_id)}/{STANDING_VERBS[standing]}"
        return await self._post(route, StandingRequest(reason=reason), StandingView, idempotent=True)

    async def queue_stats(self) -> QueueStats:
        return await self._get("/api/queue/stats", QueueStats)

    async def dead_letters(self, *, cursor: str | None = None, limit: int = 100) -> DeadLetterPage:
        query = {"limit": str(limit)} if cursor is None else {"limit": str(limit), "cursor": cursor}
        return await self._get("/api/queue/dead", DeadLetterPage, query)

    async def requeue(self, job_id: str) -> JobView:
        """A failed job's work again, as a new job; asked for again, the same one."""
        return await self._post(f"/api/jobs/{segment(job_id)}/requeue", None, JobView, idempotent=True)
