"""The real application behind a real Granian in the test's loop, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from granian.constants import Interfaces
from granian.server.embed import Server

from edgeproof.client import ControlPlaneClient, RetryPolicy
from edgeproof.contract.runners import Capabilities, EngineCapability
from edgeproof.http.application import create_app
from edgeproof.http.body_guard import BodyLimits, Pace
from edgeproof.server.plane.control_plane import ControlPlane, Settings
from edgeproof.server.plane.principals import create_principal

ENGINE = EngineCapability(
    name="onnxruntime", version="1", targets=("cpu",), precisions=("fp32", "fp16", "int8")
)
CAPABILITIES = Capabilities(
    device_class="linux-x86_64",
    cpu_count=2,
    memory_bytes=8 << 30,
    isolation="namespaces",
    backends=(ENGINE,),
    toolchains=(ENGINE,),
)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free: int = probe.getsockname()[1]
        return free


@pytest.fixture
def url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def settings(url: str) -> Settings:
    return Settings(public_url=url, max_artifact_bytes=8 << 20)


@pytest.fixture
def pace() -> Pace:
    """How slowly a body may arrive; a test of slow bodies overrides it."""
    return Pace()


@pytest.fixture
async def server(control_plane: ControlPlane, port: int, url: str, pace: Pace) -> AsyncIterator[ControlPlane]:
    """The control plane while Granian serves it."""
    app = create_app(control_plane, BodyLimits(pace=pace))
    granian = Server(app, "127.0.0.1", port, interface=Interfaces.ASGI, log_enabled=False)
    serving = asyncio.create_task(granian.serve())
    async with ControlPlaneClient(url, retry=RetryPolicy(attempts=20, cap_seconds=0.2)) as probe:
        await probe.health()
    yield control_plane
    control_plane.stopping.set()
    granian.stop()
    async with asyncio.timeout(10):
        await serving


@pytest.fixture
async def user(server: ControlPlane, url: str) -> AsyncIterator[ControlPlaneClient]:
    async with ControlPlaneClient(url, token=await create_principal(server, "user", "ann")) as client:
        yield client


@pytest.fixture
async def other_user(server: ControlPlane, url: str) -> AsyncIterator[ControlPlaneClient]:
    async with ControlPlaneClient(url, token=await create_principal(server, "user", "bob")) as client:
        yield client


@pytest.fixture
async def admin(server: ControlPlane, url: str) -> AsyncIterator[ControlPlaneClient]:
    async with ControlPlaneClient(url, token=await create_principal(server, "admin", "root")) as client:
        yield client


@pytest.fixture
async def raw(server: ControlPlane, url: str, user: ControlPlaneClient) -> AsyncIterator[httpx.AsyncClient]:
    """Plain HTTP with a user's token, for what the client would never send."""
    headers = {"Authorization": f"Bearer {user.token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=20) as client:
        yield client
