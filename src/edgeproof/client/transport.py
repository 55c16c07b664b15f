"""``ControlPlaneClient``: every route of the control plane with the contract's messages; here a user's own.

Raises ``Refused`` or ``Unavailable`` with the code the server gave; ``server_unreachable`` when there is
no server. It repeats what is safe to repeat and keeps no state but the token.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from edgeproof.client import event_stream, transfer
from edgeproof.client.address import ServerAddress
from edgeproof.client.calls import segment
from edgeproof.client.exchange import HEALTH, JSON, Exchange, RetryPolicy, decoded
from edgeproof.client.operator_calls import OperatorCalls
from edgeproof.client.runner_calls import RunnerCalls
from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.ids import digest_of_uri
from edgeproof.contract.jobs import ArtifactInfo, EvidenceList, Health, JobEvent, JobPage, JobStatus, JobView
from edgeproof.contract.policies import PolicyList, PolicyView
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.run_metrics import JobMetrics
from edgeproof.contract.stored_results import (
    AddResultRequest,
    CompareRequest,
    ResultDocument,
    ResultFilter,
    ResultPage,
)
from edgeproof.contract.worker import WorkerReceipt, WorkerRequest
from edgeproof.domain.runs import Lease


class ControlPlaneClient(RunnerCalls, OperatorCalls):
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
        super().__init__(Exchange(parsed, token, retry or RetryPolicy(), transport, ca_file))

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
        return await self._get(f"/api/jobs/{segment(job_id)}", JobView)

    async def cancel(self, job_id: str) -> JobView:
        route = f"/api/jobs/{segment(job_id)}/cancel"
        return await self._post(route, None, JobView, idempotent=True)

    def events(self, job_id: str, *, after: int = 0) -> AsyncIterator[JobEvent]:
        """Every event behind ``after``, until the job has ended; survives lost connections."""
        return event_stream.follow(self._exchange, segment(job_id), after)

    async def metrics(self, job_id: str) -> JobMetrics:
        return await self._get(f"/api/jobs/{segment(job_id)}/metrics", JobMetrics)

    async def evidence(self, job_id: str) -> EvidenceList:
        return await self._get(f"/api/jobs/{segment(job_id)}/evidence", EvidenceList)

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
        return await self._get(f"/api/results/{segment(name)}", ResultDocument)

    # --- external workers ------------------------------------------------------------------------

    async def worker_request(self, job_id: str) -> WorkerRequest:
        """What a queued job asks of a worker. Reading it changes nothing."""
        return await self._get(f"/api/jobs/{segment(job_id)}/worker-request", WorkerRequest)

    async def send_worker_response(self, job_id: str, response: bytes) -> WorkerReceipt:
        """A worker's terminal answer, JSON as it is. Never repeated: a second answer is refused."""
        answer = await self._exchange.send(
            "POST",
            f"/api/jobs/{segment(job_id)}/worker-response",
            body=response,
            headers=JSON,
            idempotent=False,
        )
        return decoded(answer, WorkerReceipt)

    # --- policies --------------------------------------------------------------------------------

    async def policies(self) -> PolicyList:
        return await self._get("/api/policies", PolicyList)

    async def policy(self, name_or_digest: str) -> PolicyView:
        """The newest version of a name, or the one with this digest (``sha256:<hex>`` or bare)."""
        name = digest_of_uri(name_or_digest) or name_or_digest
        return await self._get(f"/api/policies/{segment(name)}", PolicyView)

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
