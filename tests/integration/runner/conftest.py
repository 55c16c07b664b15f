"""A runner with a real home and real children, and a control plane in memory to serve."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.runners import Isolation
from edgeproof.contract.statements import DuetPlan, ForgeConfig, MeasuredArtifact, RuntimeConfig
from edgeproof.runner.agent import Agent
from edgeproof.runner.engines import boot_id, detect_capabilities
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.isolation import detect
from edgeproof.runner.session import Session
from edgeproof.testing.simulated_server import SimulatedServer


def model(seed: int = 1) -> bytes:
    """A Gemm and a Relu: [1, 8] float → [1, 4]."""
    weights = np.random.default_rng(seed).normal(size=(8, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(weights, "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


class Scene:
    """One runner and its control plane. ``agent`` makes a new process's agent on the same home."""

    def __init__(self, folder: Path, isolation: Isolation) -> None:
        self.server = SimulatedServer()
        self.home = RunnerHome(folder / "home")
        self.isolation: Isolation = isolation
        self.stop = asyncio.Event()
        self.source = self.server.keep(model())

    def agent(self) -> Agent:
        capabilities = detect_capabilities(self.isolation)
        session = Session(self.server, self.home.signing_key(), capabilities, "token")
        return Agent(session, self.home, boot_id())

    def forge(self, preset: str = "fp32") -> ForgeConfig:
        return ForgeConfig(
            role="candidate",
            backend="onnxruntime",
            target="cpu",
            preset=preset,
            precision="fp32",
            source=self.source,
            source_name="tiny.onnx",
            calibration=None,
            input_shapes={},
            batch=None,
            height=None,
            width=None,
        )

    def duet(self, looks: tuple[int, ...] = (500,)) -> RuntimeConfig:
        """A duet of the model with itself; by default a long one."""
        side = MeasuredArtifact(
            artifact=self.source,
            build=sha256_hex(b"build"),
            source=self.source,
            precision="fp32",
            model_name="tiny",
        )
        return RuntimeConfig(
            backend="onnxruntime",
            target="cpu",
            threads=1,
            baseline=side,
            candidate=side,
            dataset=None,
            input_shapes={},
            batch=None,
            height=None,
            width=None,
            plan=DuetPlan(
                looks=looks,
                confidence=0.95,
                gates={"p50": 5.0},
                blocks=2,
                calls_per_block=5,
                repeats=2,
                load_difference=1.0,
                settle_calls=1,
                warmup_calls=1,
                warmup_windows=12,
                warmup_tolerance_pct=5.0,
            ),
            min_isolation="none",
        )

    def altered(self, config: ForgeConfig, **changes: object) -> ForgeConfig:
        return msgspec.structs.replace(config, **changes)


@pytest.fixture(scope="session")
def best() -> Isolation:
    return asyncio.run(detect())


@pytest.fixture
def make_scene(tmp_path: Path) -> Callable[[Isolation], Scene]:
    return lambda isolation: Scene(tmp_path, isolation)


@pytest.fixture
async def scene(tmp_path: Path, best: Isolation) -> AsyncIterator[Scene]:
    made = Scene(tmp_path, best)
    yield made
    assert list(made.home.work.iterdir()) == []
