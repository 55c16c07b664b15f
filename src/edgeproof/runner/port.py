"""What a runner asks of a control plane: one protocol, implemented by ``client`` and by the shipped fake.

Every call raises ``Refused`` when the control plane said no, and ``Unavailable`` when it could not be
asked; only the second is worth repeating.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.runners import (
    Capabilities,
    ClaimedRun,
    ClaimRequest,
    FailRequest,
    FailResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    RegisterResponse,
    RunnerStanding,
    SubmitResponse,
)
from edgeproof.domain.runs import Lease


class ControlPlane(Protocol):
    async def register(
        self, key: SigningKey, capabilities: Capabilities, enrolment_token: str | None
    ) -> RegisterResponse:
        """Prove the key, keep the token for the calls below; the answer names the pinned server's key."""
        ...

    async def claim_or_standing(self, request: ClaimRequest) -> ClaimedRun | RunnerStanding:
        """A lease; when there is none within ``wait_seconds``, whether this runner is to expect any."""
        ...

    async def heartbeat(self, run_id: str, lease: Lease, request: HeartbeatRequest) -> HeartbeatResponse: ...

    async def submit(self, run_id: str, lease: Lease, envelope: bytes) -> SubmitResponse: ...

    async def fail(self, run_id: str, lease: Lease, request: FailRequest) -> FailResponse: ...

    async def upload(self, path: Path, digest: str, *, run_id: str, lease: Lease) -> None: ...

    async def download(self, digest: str, path: Path, *, run_id: str, lease: Lease) -> None:
        """The artifact's bytes at ``path``, whole or not at all."""
        ...
