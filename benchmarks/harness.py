"""What the measured process adds to a call: its timing loop against a bare loop over the same call.

For the digits example (about 1 ms) and for a model of one Relu (about 2 µs), in one process, both loops
alternating; medians over rounds. Needs `edgeproof[onnxruntime]`.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from onnx import TensorProto, helper

from edgeproof.runtime.backends import backend
from edgeproof.runtime.process import timed

DIGITS = Path(__file__).parents[1] / "examples" / "digits" / "digits.onnx"
ROUNDS = 60


def relu(folder: Path) -> Path:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", values[:1], values[1:])
    path = folder / "relu.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def bare(call: Callable[[], object], calls: int) -> float:
    """ns per call with the clock read twice in all."""
    turns = [call] * calls
    started = time.perf_counter_ns()
    for one in turns:
        one()
    return (time.perf_counter_ns() - started) / calls


def harnessed(call: Callable[[], object], calls: int) -> tuple[float, float]:
    """ns per call as the process reports them, and as they pass on the wall."""
    turns = [call] * calls
    started = time.perf_counter_ns()
    taken = timed(turns)
    return sum(taken) / calls, (time.perf_counter_ns() - started) / calls


def compare(name: str, model: Path, shape: tuple[int, ...], calls: int) -> None:
    engine = backend("onnxruntime")
    engine.prepare()
    session = engine.load(model, 1)
    feed = {one.name: np.random.default_rng(0).random(shape, dtype=np.float32) for one in session.inputs}
    call = session.bind(feed).call
    harnessed(call, calls)
    bares, reported, passed = [], [], []
    for _ in range(ROUNDS):
        bares.append(bare(call, calls))
        told, wall = harnessed(call, calls)
        reported.append(told)
        passed.append(wall)
    base, told, wall = median(bares), median(reported), median(passed)
    print(
        f"{name}: bare {base / 1000:.3f} µs; reported {told / 1000:.3f} µs (ratio {told / base:.4f}, "
        f"{(told - base) / 1000:+.3f} µs); on the wall {wall / 1000:.3f} µs ({(wall - base) / 1000:+.3f} µs)"
    )


def main() -> int:
    gc.disable()
    with tempfile.TemporaryDirectory() as folder:
        compare("relu", relu(Path(folder)), (1, 8), 20_000)
    compare("digits", DIGITS, (1, 1, 32, 32), 40)
    return 0


if __name__ == "__main__":
    sys.exit(main())
