"""Principals, runners and held runs, made by the real road where there is one."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec
import pytest

from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import (
    REGISTER_DOMAIN,
    Capabilities,
    EngineCapability,
    Needs,
    RegisterRequest,
    RegisterResponse,
)
from edgeproof.contract.statements import ForgeConfig, RunLimits, StageConfig
from edgeproof.domain.runs import Lease, new_lease
from edgeproof.server.fleet.register import register
from edgeproof.server.fleet.requirements import class_of
from edgeproof.server.fleet.runner_keys import allow_key
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import authenticate, create_principal

CAPABILITIES = Capabilities(
    device_class="linux-x86_64",
    cpu_count=2,
    memory_bytes=4 << 30,
    isolation="rlimit",
    backends=(EngineCapability(name="onnxruntime", version="1", targets=("cpu",), precisions=("fp32",)),),
    toolchains=(EngineCapability(name="onnxruntime", version="1", targets=("cpu",), precisions=("fp32",)),),
)


@pytest.fixture
async def admin(control_plane: ControlPlane) -> Principal:
    return await authenticate(control_plane, await create_principal(control_plane, "admin", "operator"))


@pytest.fixture
async def user(control_plane: ControlPlane) -> Principal:
    return await authenticate(control_plane, await create_principal(control_plane, "user", "engineer"))


@pytest.fixture
async def another_user(control_plane: ControlPlane) -> Principal:
    return await authenticate(control_plane, await create_principal(control_plane, "user", "stranger"))


@dataclass(frozen=True)
class Device:
    """A runner's side of registration, as a runner would do it; each field may be made wrong."""

    key: SigningKey
    public_url: str
    server_keyid: str
    capabilities: Capabilities = CAPABILITIES

    def request(self, enrolment_token: str | None = None) -> RegisterRequest:
        return RegisterRequest(
            public_key=self.key.public.base64,
            hostname="device",
            capabilities=self.capabilities,
            enrolment_token=enrolment_token,
        )

    async def nonce(self, plane: ControlPlane) -> str:
        request = self.request()
        with pytest.raises(Refused) as refused:
            await register(plane, request, msgspec.json.encode(request), None)
        assert refused.value.code == "challenge_required"
        assert refused.value.nonce is not None
        return refused.value.nonce

    def proof(self, nonce: str, body: bytes) -> str:
        signature = self.key.sign_in_domain(
            REGISTER_DOMAIN,
            self.server_keyid.encode(),
            self.public_url.encode(),
            nonce.encode(),
            self.key.public.raw,
            hashlib.sha256(body).digest(),
        )
        return f"{nonce}.{base64.urlsafe_b64encode(signature).decode()}"

    async def register(self, plane: ControlPlane, enrolment_token: str | None = None) -> RegisterResponse:
        request = self.request(enrolment_token)
        body = msgspec.json.encode(request)
        return await register(plane, request, body, self.proof(await self.nonce(plane), body))


@pytest.fixture
def device(control_plane: ControlPlane) -> Device:
    """Nobody has allowed its key yet."""
    return Device(
        SigningKey.generate(), control_plane.settings.public_url, control_plane.keys.signing.public.keyid
    )


@pytest.fixture
async def runner(control_plane: ControlPlane, admin: Principal, device: Device) -> Principal:
    """An allowed, registered runner."""
    await allow_key(control_plane, admin, device.key.public)
    return await authenticate(control_plane, (await device.register(control_plane)).token)


@pytest.fixture
async def another_runner(control_plane: ControlPlane, admin: Principal, device: Device) -> Principal:
    other = replace(device, key=SigningKey.generate())
    await allow_key(control_plane, admin, other.key.public)
    return await authenticate(control_plane, (await other.register(control_plane)).token)


class HoldRun(Protocol):
    """Makes a job of ``owner`` with one run that ``runner`` holds; run id and lease."""

    async def __call__(
        self, runner: Principal, config: StageConfig, *, owner: Principal, max_upload_bytes: int = 1 << 20
    ) -> tuple[str, Lease]: ...


@pytest.fixture
def hold_run(control_plane: ControlPlane) -> HoldRun:
    async def hold(
        runner: Principal, config: StageConfig, *, owner: Principal, max_upload_bytes: int = 1 << 20
    ) -> tuple[str, Lease]:
        job_id, run_id, lease = f"job-{secrets.token_hex(4)}", f"run-{secrets.token_hex(4)}", new_lease(1)
        limits = RunLimits(max_seconds=60, max_memory_bytes=1 << 30, max_upload_bytes=max_upload_bytes)
        needs = Needs(stage="forge", backend="onnxruntime", target="cpu", precisions=("fp32",))
        async with control_plane.database.transaction() as connection:
            class_id = await class_of(connection, needs)
            await connection.execute(
                "INSERT INTO jobs (job_id, owner_id, workflow, status, input_summary, policy_digest)"
                " VALUES ($1, $2, 'analyze', 'running', '{}', '')",
                job_id,
                owner.principal_id,
            )
            await connection.execute(
                "INSERT INTO runs (run_id, job_id, stage, role, class_id, config, limits)"
                " VALUES ($1, $2, 'forge', 'candidate', $3, $4, $5)",
                run_id,
                job_id,
                class_id,
                config,
                limits,
            )
            await connection.execute(
                "INSERT INTO run_queue"
                " (run_id, class_id, state, attempt, runner_id, lease_digest, lease_expires_at)"
                " VALUES ($1, $2, 'CLAIMED', 1, $3, $4, clock_timestamp() + interval '90 s')",
                run_id,
                class_id,
                runner.runner_id,
                lease.digest,
            )
        return run_id, lease

    return hold


@pytest.fixture
def forge_config() -> Callable[..., ForgeConfig]:
    def make(source: str, calibration: str | None = None) -> ForgeConfig:
        return ForgeConfig(
            role="candidate",
            backend="onnxruntime",
            target="cpu",
            preset="fp32",
            precision="fp32",
            source=source,
            source_name="model.onnx",
            calibration=calibration,
            input_shapes={},
            batch=1,
            height=None,
            width=None,
        )

    return make
