"""Tiny ONNX models and duets short enough for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeproof.contract.statements import DuetPlan, MeasuredArtifact, RuntimeConfig

FEATURES, CLASSES = 16, 4


def left_behind() -> list[psutil.Process]:
    """Processes of a measurement that still are, dead ones that nobody reaped included.

    Others may be children of this one too, such as the session's PostgreSQL.
    """
    return [one for one in psutil.Process().children() if _is_left_behind(one)]


def _is_left_behind(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE or "edgeproof.runtime" in " ".join(process.cmdline())
    except psutil.ZombieProcess:
        return True
    except psutil.NoSuchProcess:
        return False


def _save(path: Path, nodes: list[onnx.NodeProto], *, dtype: int = TensorProto.FLOAT, classes: int = CLASSES,
          weights: dict[str, np.ndarray] | None = None, opset: int = 17) -> Path:  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", dtype, ["N", FEATURES])],
        [helper.make_tensor_value_info("y", dtype, ["N", classes])],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def _weights(seed: int, classes: int = CLASSES) -> dict[str, np.ndarray]:
    return {"w": np.random.default_rng(seed).standard_normal((FEATURES, classes)).astype(np.float32)}


def _zeros() -> list[onnx.NodeProto]:
    """x·w plus the sum of a made-up tensor of ``many`` zeros."""
    node = helper.make_node
    return [
        node("Shape", ["x"], ["n"]),
        node("Mul", ["n", "many"], ["big"]),
        node("ConstantOfShape", ["big"], ["zeros"]),
        node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        node("MatMul", ["x", "w"], ["m"]),
        node("Add", ["m", "sum"], ["y"]),
    ]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    node = helper.make_node
    linear = [node("MatMul", ["x", "w"], ["y"])]
    made = {
        "linear": _save(folder / "linear.onnx", linear, weights=_weights(0)),
        "other": _save(folder / "other.onnx", linear, weights=_weights(1)),
        "five": _save(folder / "five.onnx", linear, weights=_weights(2, 5), classes=5),
        "double": _save(
            folder / "double.onnx",
            linear,
            dtype=TensorProto.DOUBLE,
            weights={"w": _weights(0)["w"].astype(np.float64)},
        ),
        # sqrt of a large negative number for every input of these tests
        "nan": _save(
            folder / "nan.onnx",
            [node("Sub", ["x", "big"], ["d"]), node("Sqrt", ["d"], ["s"]), node("MatMul", ["s", "w"], ["y"])],
            weights={**_weights(0), "big": np.float32([1e6])},
        ),
        # NaN only where an input is negative
        "sqrt": _save(
            folder / "sqrt.onnx",
            [node("Sqrt", ["x"], ["s"]), node("MatMul", ["s", "w"], ["y"])],
            weights=_weights(0),
        ),
        "unknown-operator": _save(
            folder / "unknown-operator.onnx", [node("Frobnicate", ["x", "w"], ["y"])], weights=_weights(0)
        ),
        "future": _save(folder / "future.onnx", linear, weights=_weights(0), opset=99),
        # zeros of 1 TiB, and of 400 MiB
        "huge": _save(
            folder / "huge.onnx", _zeros(), weights={**_weights(0), "many": np.int64([1 << 20, 1 << 14])}
        ),
        "large": _save(
            folder / "large.onnx", _zeros(), weights={**_weights(0), "many": np.int64([1 << 10, 6400])}
        ),
    }
    (folder / "text.onnx").write_text("not a model")
    (folder / "truncated.onnx").write_bytes(made["linear"].read_bytes()[:-60])
    return {**made, "text": folder / "text.onnx", "truncated": folder / "truncated.onnx"}


def _artifact(name: str) -> MeasuredArtifact:
    digest = name.encode().hex().ljust(64, "0")[:64]
    return MeasuredArtifact(
        artifact=digest, build="b" * 64, source="c" * 64, precision="fp32", model_name=name
    )


@pytest.fixture
def config() -> RuntimeConfig:
    """Two pairs of two blocks, on one thread, without a data set; no load is too much."""
    return RuntimeConfig(
        backend="onnxruntime",
        target="cpu",
        threads=1,
        baseline=_artifact("linear"),
        candidate=_artifact("other"),
        dataset=None,
        input_shapes={},
        batch=1,
        height=None,
        width=None,
        plan=DuetPlan(
            looks=(2,),
            confidence=0.95,
            gates={"p50": 3.0},
            blocks=2,
            calls_per_block=20,
            repeats=4,
            load_difference=1.0,
            settle_calls=3,
            warmup_calls=4,
            warmup_windows=4,
            warmup_tolerance_pct=5.0,
        ),
        min_isolation="none",
    )


@pytest.fixture
def with_data(config: RuntimeConfig) -> RuntimeConfig:
    return msgspec.structs.replace(config, dataset="d" * 64)


@pytest.fixture
def long_blocks(config: RuntimeConfig) -> RuntimeConfig:
    """Blocks of about 0.2 s, for tests that look at a duet while it plays."""
    plan = msgspec.structs.replace(config.plan, calls_per_block=40_000)
    return msgspec.structs.replace(config, plan=plan)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "work space"
    folder.mkdir()
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[..., Path]:
    """Writes an ``.npz``; by default 40 samples with labels."""

    def write(**arrays: object) -> Path:
        generator = np.random.default_rng(7)
        given = {"x": generator.random((40, FEATURES), dtype=np.float32), "labels": np.arange(40) % CLASSES}
        path = tmp_path / "data.npz"
        np.savez_compressed(path, **{k: v for k, v in {**given, **arrays}.items() if v is not None})
        return path

    return write
