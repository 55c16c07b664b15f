"""What a runner asks of the control plane: its token, and runs under a lease."""

from __future__ import annotations

from typing import Final, get_args

import msgspec

from edgeproof.client import registration
from edgeproof.client.calls import Calls, segment
from edgeproof.client.exchange import JSON, decoded
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.runners import (
    LEASE_HEADER,
    STANDING_HEADER,
    Capabilities,
    ClaimedRun,
    ClaimedRuns,
    ClaimRequest,
    FailRequest,
    FailResponse,
    HeartbeatAnswers,
    HeartbeatBatch,
    HeartbeatRequest,
    HeartbeatResponse,
    RegisterResponse,
    RunnerStanding,
    SubmitAnswers,
    SubmitBatch,
    SubmitResponse,
)
from edgeproof.domain.runs import Lease

NO_WORK: Final = 204


class RunnerCalls(Calls):
    """Registration and the run queue."""

    async def register(
        self, key: SigningKey, capabilities: Capabilities, enrolment_token: str | None = None
    ) -> RegisterResponse:
        """Proves the key and adopts the token. Also how a token is renewed."""
        return await registration.register(self._exchange, key, capabilities, enrolment_token)

    async def claim(self, request: ClaimRequest) -> ClaimedRun | None:
        """A lease, or None when there was no work in ``wait_seconds``."""
        answer = await self.claim_or_standing(request)
        return answer if isinstance(answer, ClaimedRun) else None

    async def claim_or_standing(self, request: ClaimRequest) -> ClaimedRun | RunnerStanding:
        """A lease; when there was no work in ``wait_seconds``, whether this runner is to expect any."""
        response = await self._exchange.send(
            "POST", "/api/queue/claim", body=msgspec.json.encode(request), headers=JSON, idempotent=False
        )
        if response.status_code == NO_WORK:
            told = response.headers.get(STANDING_HEADER)
            return next((one for one in get_args(RunnerStanding) if one == told), "active")
        return decoded(response, ClaimedRun)

    async def heartbeat(self, run_id: str, lease: Lease, request: HeartbeatRequest) -> HeartbeatResponse:
        return await self._under_lease(run_id, "heartbeat", lease, request, HeartbeatResponse)

    async def submit(self, run_id: str, lease: Lease, envelope: bytes) -> SubmitResponse:
        """``envelope`` is sent as it is: its canonical bytes are what was signed and digested."""
        response = await self._exchange.send(
            "POST",
            f"/api/queue/{segment(run_id)}/submit",
            body=envelope,
            headers={**JSON, LEASE_HEADER: lease.header()},
            idempotent=True,
        )
        return decoded(response, SubmitResponse)

    async def fail(self, run_id: str, lease: Lease, request: FailRequest) -> FailResponse:
        return await self._under_lease(run_id, "fail", lease, request, FailResponse)

    async def claim_batch(self, request: ClaimRequest) -> ClaimedRuns:
        """As many runs as ``request.max_runs`` allows; none when there is no work."""
        response = await self._exchange.send(
            "POST", "/api/queue/claim", body=msgspec.json.encode(request), headers=JSON, idempotent=False
        )
        return ClaimedRuns(runs=()) if response.status_code == NO_WORK else decoded(response, ClaimedRuns)

    async def heartbeats(self, batch: HeartbeatBatch) -> HeartbeatAnswers:
        return await self._post("/api/queue/heartbeat", batch, HeartbeatAnswers, idempotent=True)

    async def submits(self, batch: SubmitBatch) -> SubmitAnswers:
        return await self._post("/api/queue/submit", batch, SubmitAnswers, idempotent=True)
