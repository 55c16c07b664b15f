"""A control plane in memory and what it hands out, without any child process."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.runners import Capabilities
from edgeproof.contract.statements import ForgeConfig
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.session import Session
from edgeproof.testing.simulated_server import SimulatedServer


@pytest.fixture
def config() -> ForgeConfig:
    return ForgeConfig(
        role="candidate",
        backend="onnxruntime",
        target="cpu",
        preset="fp32",
        precision="fp32",
        source=sha256_hex(b"source"),
        source_name="model.onnx",
        calibration=None,
        input_shapes={},
        batch=None,
        height=None,
        width=None,
    )


@pytest.fixture
def server() -> SimulatedServer:
    return SimulatedServer()


@pytest.fixture
def home(tmp_path: Path) -> RunnerHome:
    return RunnerHome(tmp_path / "home")


@pytest.fixture
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture
def session(server: SimulatedServer, key: SigningKey) -> Session:
    capabilities = Capabilities(device_class="test", cpu_count=1, memory_bytes=1, isolation="none")
    return Session(server, key, capabilities, None)
