"""Two runners, one of which holds a run, and plain HTTP for what no client of ours would send."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
import pytest

from edgeproof.client import ControlPlaneClient
from edgeproof.client.registration import proof
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.fleet import RemoveKeyRequest, RotateKeyRequest
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.runners import (
    LEASE_HEADER,
    PROOF_HEADER,
    Capabilities,
    ClaimedRun,
    ClaimRequest,
    EngineCapability,
    RegisterRequest,
)
from edgeproof.domain.runs import Lease
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.testing.answers import Answer, answer

ENGINE = EngineCapability(name="onnxruntime", version="1", targets=("cpu",), precisions=("fp32",))
CAPABILITIES = Capabilities(
    device_class="linux-x86_64",
    cpu_count=2,
    memory_bytes=8 << 30,
    isolation="namespaces",
    backends=(ENGINE,),
    toolchains=(ENGINE,),
)
SECRET = b"another user's model"

Told = tuple[int, str]
"""Status and code."""


@dataclass
class Runner:
    """A runner that speaks plain HTTP; whatever it says may be changed on the way."""

    http: httpx.AsyncClient
    server_keyid: str
    url: str
    key: SigningKey = field(default_factory=SigningKey.generate)
    token: str = ""
    runner_id: str = ""

    def request(self, hostname: str = "device", enrolment: str | None = None) -> bytes:
        return msgspec.json.encode(
            RegisterRequest(
                public_key=self.key.public.base64,
                hostname=hostname,
                capabilities=CAPABILITIES,
                enrolment_token=enrolment,
            )
        )

    async def nonce(self, body: bytes) -> str:
        answered = await self.http.post("/api/runners/register", content=body)
        assert told(answered) == (401, "challenge_required")
        nonce: str = answered.json()["nonce"]
        return nonce

    def proof(self, nonce: str, body: bytes) -> str:
        return proof(self.key, self.server_keyid, self.url, nonce, body)

    async def prove(self, proved: str, body: bytes) -> httpx.Response:
        return await self.http.post("/api/runners/register", content=body, headers={PROOF_HEADER: proved})

    async def register(self, enrolment: str | None = None, hostname: str = "device") -> httpx.Response:
        body = self.request(hostname, enrolment)
        answered = await self.prove(self.proof(await self.nonce(body), body), body)
        if answered.is_success:
            self.token, self.runner_id = answered.json()["token"], answered.json()["runner_id"]
        return answered

    async def post(
        self, route: str, body: Any = None, lease: Lease | None = None, token: str | None = None
    ) -> httpx.Response:
        content = body if isinstance(body, bytes) else msgspec.json.encode({} if body is None else body)
        return await self.http.post(route, content=content, headers=self.headers(lease, token))

    def headers(self, lease: Lease | None, token: str | None = None) -> dict[str, str]:
        shown = self.token if token is None else token
        sent = {"Authorization": f"Bearer {shown}"} if shown else {}
        return sent if lease is None else {**sent, LEASE_HEADER: lease.header()}

    async def claim(self) -> ClaimedRun:
        answered = await self.post("/api/queue/claim", ClaimRequest(wait_seconds=5))
        assert answered.status_code == 200, answered.text
        return msgspec.json.decode(answered.content, type=ClaimedRun)

    async def call(
        self, verb: str, run: ClaimedRun, lease: Lease, token: str | None = None
    ) -> httpx.Response:
        """One of the calls that a runner makes, as it would be made."""
        if verb == "claim":
            return await self.post("/api/queue/claim", {}, token=token)
        if verb == "upload":
            data = b"an output"
            route = f"/api/artifacts/sha256/{hashlib.sha256(data).hexdigest()}?run_id={run.run_id}"
            return await self.http.put(route, content=data, headers=self.headers(lease, token))
        if verb == "download":
            route = f"/api/artifacts/sha256/{'0' * 64}?run_id={run.run_id}"
            return await self.http.get(route, headers=self.headers(lease, token))
        body: Any = {}
        if verb == "submit":
            body = self.answer(run).envelope
        elif verb == "fail":
            body = {"code": "build_failed", "message": "no", "fault": "user", "retryable": True}
        return await self.post(f"/api/queue/{run.run_id}/{verb}", body, lease, token)

    def answer(self, run: ClaimedRun, nonce: int = 0) -> Answer:
        return answer(run.job_spec.encode(), self.key, nonce=nonce)

    async def upload(self, run: ClaimedRun, made: Answer) -> None:
        for data in made.uploads:
            route = f"/api/artifacts/sha256/{hashlib.sha256(data).hexdigest()}?run_id={run.run_id}"
            answered = await self.http.put(route, content=data, headers=self.headers(lease_of(run)))
            assert answered.status_code == 200, answered.text

    async def submit(self, run: ClaimedRun, envelope: bytes, lease: Lease | None = None) -> httpx.Response:
        return await self.post(f"/api/queue/{run.run_id}/submit", envelope, lease or lease_of(run))


def lease_of(run: ClaimedRun) -> Lease:
    return Lease(run.attempt, run.lease_token)


def told(answered: httpx.Response) -> Told:
    assert answered.headers["content-type"] == "application/problem+json", answered.text
    problem = answered.json()
    assert problem["status"] == answered.status_code
    return answered.status_code, problem["code"]


VERBS = ("claim", "heartbeat", "submit", "fail", "upload", "download")


@dataclass
class Scene:
    """``one`` holds ``run`` of ``user``'s job; ``two`` holds nothing. ``secret`` is another user's model."""

    plane: ControlPlane
    url: str
    http: httpx.AsyncClient
    user: ControlPlaneClient
    admin: ControlPlaneClient
    one: Runner
    two: Runner
    run: ClaimedRun
    job_id: str
    model: str
    secret: str

    @property
    def lease(self) -> Lease:
        return lease_of(self.run)

    def stranger(self) -> Runner:
        return Runner(self.http, self.one.server_keyid, self.url)

    async def remove(self, runner: Runner) -> None:
        request = RemoveKeyRequest(key=runner.key.public.base64, reason="stolen")
        await self.admin.remove_runner_key(request)

    async def rotate_out(self, runner: Runner) -> None:
        new = SigningKey.generate().public.base64
        await self.admin.rotate_runner_key(
            RotateKeyRequest(old=runner.key.public.base64, new=new, overlap_seconds=0)
        )

    async def unharmed(self) -> None:
        """The run is still its holder's, and nothing of the stranger's was kept."""
        beat = await self.one.call("heartbeat", self.run, self.lease)
        assert beat.status_code == 200, beat.text
        job = await self.user.job(self.job_id)
        assert job.status == "running"
        (run,) = [one for one in job.runs if one.run_id == self.run.run_id]
        assert (run.state, run.runner_id, run.attempt) == ("CLAIMED", self.one.runner_id, self.run.attempt)


@pytest.fixture
async def scene(
    server: ControlPlane,
    url: str,
    user: ControlPlaneClient,
    other_user: ControlPlaneClient,
    admin: ControlPlaneClient,
) -> AsyncIterator[Scene]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
        runners = [Runner(http, server.keys.signing.public.keyid, url) for _ in range(2)]
        for runner in runners:
            assert (await runner.register(await admin.create_enrolment_token())).is_success
        model = (await user.upload_bytes(b"a model")).digest
        secret = (await other_user.upload_bytes(SECRET)).digest
        job = await user.analyze(
            AnalyzeRequest(model_path=f"sha256:{model}", options={"runner": runners[0].runner_id})
        )
        run = await runners[0].claim()
        yield Scene(server, url, http, user, admin, *runners, run, job.job_id, model, secret)
