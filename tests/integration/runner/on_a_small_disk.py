"""A process of its own, for ``test_work``: a runner whose home is as full as is asked for.

Arguments: the home's file system, the bytes left on it, where the rest of it went (a folder of the home), the
preset of the build to be done. One build with preset fp32 of the same model has been done before.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from conftest import Scene  # type: ignore[import-not-found]
from edgeproof.contract.runners import Capabilities
from edgeproof.runner.agent import Agent
from edgeproof.runner.session import Session


def large_model() -> bytes:
    """2 MiB of weights."""
    weights = np.random.default_rng(1).normal(size=(8, 1 << 16)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"])],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1 << 16])],
        [numpy_helper.from_array(weights, "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


async def main(disk: Path, left: int, where: str, preset: str) -> None:
    scene = Scene(disk, "rlimit")
    scene.source = scene.server.keep(large_model())
    capabilities = Capabilities(device_class="test", cpu_count=1, memory_bytes=1, isolation="rlimit")
    session = Session(scene.server, scene.home.signing_key(), capabilities, "token")
    agent = Agent(session, scene.home, "boot")
    scene.server.add(scene.forge())
    await agent.serve(scene.stop, max_runs=1)
    filler = scene.home.root / where / "old"
    filler.write_bytes(bytes(shutil.disk_usage(disk).free - left))
    run = scene.server.add(scene.forge(preset))
    await agent.serve(scene.stop, max_runs=1)
    told = {
        "state": run.state,
        "failures": [one.code for one in run.failures],
        "downloads": scene.server.calls.count("download"),
        "old": filler.exists(),
        "work": [path.name for path in scene.home.work.iterdir()],
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]))
