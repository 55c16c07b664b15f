"""``ControlPlaneClient``: every route of the control plane with the contract's messages.

Raises ``Refused`` or ``Unavailable`` with the code the server gave; ``server_unreachable`` when there is
no server. It repeats what is safe to repeat and keeps no state but the token.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx
import msgspec

from edgeproof.client import event_stream, registration, transfer
from edgeproof.client.address import ServerAddress
from edgeproof.client.exchange import HEALTH, JSON, Exchange, RetryPolicy, decoded
from edgeproof.contract.audit import AuditList, AuditPage
from edgeproof.contract.base import Wire
from edgeproof.contract.envelope import PublicKey, SigningKey
from edgeproof.contract.errors import Refused
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
from edgeproof.contract.ids import digest_of_uri, is_id
from edgeproof.contract.jobs import ArtifactInfo, EvidenceList, Health, JobEvent, JobPage, JobStatus, JobView
from edgeproof.contract.policies import PolicyList, PolicyView
from edgeproof.contract.policy import Policy
from edgeproof.contract.queue import DeadLetterPage, QueueStats
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.run_metrics import JobMetrics
from edgeproof.contract.runners import (
    LEASE_HEADER,
    Capabilities,
    ClaimedRun,
    ClaimedRuns,
    ClaimRequest,
    EnrolmentTokenRequest,
    EnrolmentTokenResponse,
    FailRequest,
    FailResponse,
    HeartbeatAnswers,
    HeartbeatBatch,
    HeartbeatRequest,
    HeartbeatResponse,
    RegisterResponse,
    RunnerList,
    RunnerStanding,
    StandingRequest,
    StandingView,
    SubmitAnswers,
    SubmitBatch,
    SubmitResponse,
)
from edgeproof.contract.stored_results import (
    AddResultRequest,
    CompareRequest,
    ResultDocument,
    ResultFilter,
    ResultPage,
)
from edgeproof.contract.worker import (
    WorkerList,
    WorkerReceipt,
    WorkerRequest,
    WorkerToken,
    WorkerTokenRequest,
    WorkerView,
)
from edgeproof.domain.runs import Lease

T = TypeVar("T", bound=Wire)

NO_WORK: Final = 204
STANDING_VERBS: Final[dict[RunnerStanding, str]] = {
    "draining": "drain",
    "quarantined": "quarantine",
    "active": "release",
}


class ControlPlaneClient:
    """An async context manager. ``address`` is ``URL`` or ``URL#sha256:<server key>``."""

    def __init__(
        self,
        address: ServerAddress | str,
        *,
        token: str | None = None,
        retry: RetryPolicy | None = None,
        ca_file: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        parsed = ServerAddress.parse(address) if isinstance(address, str) else address
        self._exchange = Exchange(parsed, token, retry or RetryPolicy(), transport, ca_file)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._exchange.close()

    @property
    def address(self) -> ServerAddress:
        return self._exchange.address

    @property
    def token(self) -> str | None:
        return self._exchange.token

    @token.setter
    def token(self, token: str | None) -> None:
        self._exchange.token = token

    # --- the server ------------------------------------------------------------------------------

    async def health(self) -> Health:
        """Also refuses a server that has another key than the pinned one."""
        health = decoded(await self._exchange.send("GET", HEALTH, idempotent=True), Health)
        self._exchange.check_pin(PublicKey.from_base64(health.server_key))
        return health

    # --- jobs ------------------------------------------------------------------------------------

    async def analyze(self, request: AnalyzeRequest, *, idempotency_key: str | None = None) -> JobView:
        """Queues a job. Repeating with the same key and request gives the same job."""
        key = idempotency_key or secrets.token_hex(16)
        return await self._post("/api/analyze", request, JobView, {"Idempotency-Key": key}, idempotent=True)

    async def jobs(
        self,
        *,
        status: JobStatus | None = None,
        workflow: str | None = None,
        owner: str | None = None,
        policy: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> JobPage:
        """One page, newest first; pass its ``next_cursor`` for the next one."""
        asked = {"status": status, "workflow": workflow, "owner": owner, "policy": policy, "cursor": cursor}
        asked["limit"] = None if limit is None else str(limit)
        return await self._get("/api/jobs", JobPage, {key: value for key, value in asked.items() if value})

    async def job(self, job_id: str) -> JobView:
        return await self._get(f"/api/jobs/{_segment(job_id)}", JobView)

    async def cancel(self, job_id: str) -> JobView:
        route = f"/api/jobs/{_segment(job_id)}/cancel"
        return await self._post(route, None, JobView, idempotent=True)

    def events(self, job_id: str, *, after: int = 0) -> AsyncIterator[JobEvent]:
        """Every event behind ``after``, until the job has ended; survives lost connections."""
        return event_stream.follow(self._exchange, _segment(job_id), after)

    async def metrics(self, job_id: str) -> JobMetrics:
        return await self._get(f"/api/jobs/{_segment(job_id)}/metrics", JobMetrics)

    async def evidence(self, job_id: str) -> EvidenceList:
        return await self._get(f"/api/jobs/{_segment(job_id)}/evidence", EvidenceList)

    # --- results ---------------------------------------------------------------------------------

    async def compare(self, request: CompareRequest) -> dict[str, Any]:
        """The response bundle of two results (``contract.bundle.ResponseBundle``), whole. Stores nothing."""
        body = msgspec.json.encode(request)
        response = await self._exchange.send("POST", "/api/compare", body=body, headers=JSON, idempotent=True)
        return decoded(response, dict[str, Any])

    async def add_result(
        self, result: dict[str, Any], *, idempotency_key: str | None = None
    ) -> ResultDocument:
        """Keeps a runtime result. The same one again changes nothing, so no key is needed."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        request = AddResultRequest(result=result)
        return await self._post("/api/results", request, ResultDocument, headers, idempotent=True)

    async def results(
        self, wanted: ResultFilter | None = None, *, cursor: str | None = None, limit: int | None = None
    ) -> ResultPage:
        """One page, newest kept first; pass its ``next_cursor`` for the next one."""
        asked = {**msgspec.structs.asdict(wanted or ResultFilter()), "cursor": cursor, "limit": limit}
        query = {name: str(value) for name, value in asked.items() if value is not None}
        return await self._get("/api/results", ResultPage, query)

    async def result(self, reference: str) -> ResultDocument:
        """By its id or digest (``sha256:<hex>`` or bare), or a job's candidate by the job's id."""
        name = digest_of_uri(reference) or reference
        return await self._get(f"/api/results/{_segment(name)}", ResultDocument)

    # --- external workers ------------------------------------------------------------------------

    async def worker_request(self, job_id: str) -> WorkerRequest:
        """What a queued job asks of a worker. Reading it changes nothing."""
        return await self._get(f"/api/jobs/{_segment(job_id)}/worker-request", WorkerRequest)

    async def send_worker_response(self, job_id: str, response: bytes) -> WorkerReceipt:
        """A worker's terminal answer, JSON as it is. Never repeated: a second answer is refused."""
        answer = await self._exchange.send(
            "POST",
            f"/api/jobs/{_segment(job_id)}/worker-response",
            body=response,
            headers=JSON,
            idempotent=False,
        )
        return decoded(answer, WorkerReceipt)

    async def create_worker(self, name: str) -> WorkerToken:
        """For admins; the token is shown this once."""
        return await self._post("/api/workers", WorkerTokenRequest(name=name), WorkerToken, idempotent=False)

    async def workers(self) -> WorkerList:
        return await self._get("/api/workers", WorkerList)

    async def revoke_worker(self, worker_id: str) -> WorkerView:
        """For admins. Safe to repeat."""
        return await self._post(
            f"/api/workers/{_segment(worker_id)}/revoke", None, WorkerView, idempotent=True
        )

    # --- policies --------------------------------------------------------------------------------

    async def policies(self) -> PolicyList:
        return await self._get("/api/policies", PolicyList)

    async def policy(self, name_or_digest: str) -> PolicyView:
        """The newest version of a name, or the one with this digest (``sha256:<hex>`` or bare)."""
        name = digest_of_uri(name_or_digest) or name_or_digest
        return await self._get(f"/api/policies/{_segment(name)}", PolicyView)

    async def add_policy(self, policy: Policy) -> PolicyView:
        """For admins. Safe to repeat."""
        return await self._post("/api/policies", policy, PolicyView, idempotent=True)

    # --- runners and their queue -----------------------------------------------------------------

    async def register(
        self, key: SigningKey, capabilities: Capabilities, enrolment_token: str | None = None
    ) -> RegisterResponse:
        """Proves the key and adopts the token. Also how a token is renewed."""
        return await registration.register(self._exchange, key, capabilities, enrolment_token)

    async def runners(self) -> RunnerList:
        return await self._get("/api/runners", RunnerList)

    async def create_enrolment_token(self, uses: int = 1, ttl_seconds: int = 3600) -> str:
        """For admins; the token is shown this once."""
        request = EnrolmentTokenRequest(uses=uses, ttl_seconds=ttl_seconds)
        answer = await self._post("/api/enrolment-tokens", request, EnrolmentTokenResponse, idempotent=False)
        return answer.token

    async def runner(self, runner_id: str) -> RunnerDetail:
        """For admins."""
        return await self._get(f"/api/runners/{_segment(runner_id)}", RunnerDetail)

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

    async def claim(self, request: ClaimRequest) -> ClaimedRun | None:
        """A lease, or None when there was no work in ``wait_seconds``."""
        response = await self._exchange.send(
            "POST", "/api/queue/claim", body=msgspec.json.encode(request), headers=JSON, idempotent=False
        )
        if response.status_code == NO_WORK:
            return None
        return decoded(response, ClaimedRun)

    async def heartbeat(self, run_id: str, lease: Lease, request: HeartbeatRequest) -> HeartbeatResponse:
        return await self._under_lease(run_id, "heartbeat", lease, request, HeartbeatResponse)

    async def submit(self, run_id: str, lease: Lease, envelope: bytes) -> SubmitResponse:
        """``envelope`` is sent as it is: its canonical bytes are what was signed and digested."""
        response = await self._exchange.send(
            "POST",
            f"/api/queue/{_segment(run_id)}/submit",
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

    # --- operators -------------------------------------------------------------------------------

    async def set_standing(self, runner_id: str, standing: RunnerStanding, reason: str = "") -> StandingView:
        route = f"/api/runners/{_segment(runner_id)}/{STANDING_VERBS[standing]}"
        return await self._post(route, StandingRequest(reason=reason), StandingView, idempotent=True)

    async def queue_stats(self) -> QueueStats:
        return await self._get("/api/queue/stats", QueueStats)

    async def dead_letters(self, *, cursor: str | None = None, limit: int = 100) -> DeadLetterPage:
        query = {"limit": str(limit)} if cursor is None else {"limit": str(limit), "cursor": cursor}
        return await self._get("/api/queue/dead", DeadLetterPage, query)

    async def requeue(self, job_id: str) -> JobView:
        """A failed job's work again, as a new job; asked for again, the same one."""
        return await self._post(f"/api/jobs/{_segment(job_id)}/requeue", None, JobView, idempotent=True)

    # --- artifacts -------------------------------------------------------------------------------

    async def publish(self, path: Path) -> ArtifactInfo:
        """Uploads a file under whatever digest it has."""
        digest = await transfer.digest_of_file(path)
        return await transfer.upload_file(self._exchange, path, digest)

    async def upload(
        self, path: Path, digest: str, *, run_id: str | None = None, lease: Lease | None = None
    ) -> None:
        """Streams the file that has this digest. Safe to repeat."""
        await transfer.upload_file(self._exchange, path, digest, run_id=run_id, lease=lease)

    async def upload_bytes(
        self, data: bytes, *, run_id: str | None = None, lease: Lease | None = None
    ) -> ArtifactInfo:
        return await transfer.upload_bytes(self._exchange, data, run_id=run_id, lease=lease)

    async def download(
        self, digest: str, path: Path, *, run_id: str | None = None, lease: Lease | None = None
    ) -> None:
        """An artifact to ``path``, whole or not at all."""
        await transfer.download_file(self._exchange, digest, path, run_id=run_id, lease=lease)

    async def fetch(
        self, digest: str, *, max_bytes: int, run_id: str | None = None, lease: Lease | None = None
    ) -> bytes:
        """A small artifact into memory."""
        return await transfer.fetch_bytes(
            self._exchange, digest, max_bytes=max_bytes, run_id=run_id, lease=lease
        )

    # ---------------------------------------------------------------------------------------------

    async def _get(self, path: str, type_: type[T], query: dict[str, str] | None = None) -> T:
        return decoded(await self._exchange.send("GET", path, query=query, idempotent=True), type_)

    async def _post(
        self,
        path: str,
        message: Wire | Policy | None,
        type_: type[T],
        headers: dict[str, str] | None = None,
        *,
        idempotent: bool,
    ) -> T:
        body = None if message is None else msgspec.json.encode(message)
        sent = {**(JSON if body else {}), **(headers or {})}
        response = await self._exchange.send("POST", path, body=body, headers=sent, idempotent=idempotent)
        return decoded(response, type_)

    async def _under_lease(self, run_id: str, verb: str, lease: Lease, message: Wire, type_: type[T]) -> T:
        route = f"/api/queue/{_segment(run_id)}/{verb}"
        return await self._post(route, message, type_, {LEASE_HEADER: lease.header()}, idempotent=True)


def _segment(id_: str) -> str:
    """An id as part of a path: nothing in it can need quoting."""
    if not is_id(id_):
        raise Refused("not_found", f"{id_!r} is no id")
    return id_
