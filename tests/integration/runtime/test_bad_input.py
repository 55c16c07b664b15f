"""What bad models, bad data sets and dying processes come to: a stable code, and no process left."""

from __future__ import annotations

import asyncio
import os
import pickle
import resource
import signal
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest

from edgeproof.contract.errors import StageFailed
from edgeproof.contract.jobs import Progress
from edgeproof.contract.samples import PairSamples
from edgeproof.contract.statements import RuntimeConfig
from edgeproof.runtime.duet import DuetOutcome, RuntimeInputs, measure

from .conftest import left_behind

Models = dict[str, Path]
Write = Callable[..., Path]


def never(_pairs: Sequence[PairSamples]) -> bool:
    return False


def ignore(_progress: Progress) -> None:
    pass


async def play(config: RuntimeConfig, inputs: RuntimeInputs, workspace: Path) -> DuetOutcome:
    return await measure(config, inputs, workspace, enough=never, on_progress=ignore)


async def refused(config: RuntimeConfig, inputs: RuntimeInputs, workspace: Path) -> StageFailed:
    with pytest.raises(StageFailed) as caught:
        await play(config, inputs, workspace)
    assert left_behind() == []
    return caught.value


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("nan", "model_output_not_finite"),
        ("unknown-operator", "unsupported_operator"),
        ("future", "unsupported_opset"),
        ("huge", "memory_limit"),
        ("text", "model_not_onnx"),
        ("truncated", "model_not_onnx"),
        ("double", "incomparable_outputs"),
        ("five", "incomparable_outputs"),
    ],
)
async def test_bad_candidate(
    models: Models, config: RuntimeConfig, workspace: Path, name: str, code: str
) -> None:
    error = await refused(config, RuntimeInputs(models["linear"], models[name], None), workspace)
    assert error.code == code, error.detail
    assert "candidate" in error.detail or code == "incomparable_outputs"


async def test_bad_baseline_is_named(models: Models, config: RuntimeConfig, workspace: Path) -> None:
    error = await refused(config, RuntimeInputs(models["nan"], models["linear"], None), workspace)
    assert (error.code, error.detail.partition(":")[0]) == ("model_output_not_finite", "baseline")


async def test_nan_beyond_the_timed_inputs_is_counted(
    models: Models, with_data: RuntimeConfig, workspace: Path, dataset: Write
) -> None:
    values = np.random.default_rng(0).random((40, 16), dtype=np.float32)
    values[[30, 35, 39], 2] = -1.0
    inputs = RuntimeInputs(models["linear"], models["sqrt"], dataset(x=values))
    quality = (await play(with_data, inputs, workspace)).quality
    assert (quality.baseline.nonfinite, quality.candidate.nonfinite) == (0, 3)
    assert [quality.cosine[one] for one in (30, 35, 39)] == [0.0, 0.0, 0.0]
    assert quality.candidate.predictions is not None
    assert quality.candidate.predictions[30] == -1
    assert quality.cosine[29] > 0


@pytest.mark.parametrize(
    ("arrays", "code"),
    [
        ({"x": np.zeros((40, 16))}, "dataset_invalid"),
        ({"x": np.zeros((40, 15), np.float32)}, "dataset_invalid"),
        ({"x": np.zeros((39, 16), np.float32)}, "dataset_invalid"),
        ({"x": np.zeros((0, 16), np.float32), "labels": None}, "dataset_invalid"),
        ({"x": None}, "dataset_invalid"),
        ({"z": np.zeros((40, 16), np.float32)}, "dataset_invalid"),
        ({"labels": np.full(40, 4)}, "dataset_invalid"),
        ({"labels": np.full(40, -1)}, "dataset_invalid"),
        ({"labels": np.zeros(40)}, "dataset_invalid"),
        ({"labels": np.array([None] * 40)}, "dataset_unsafe"),
    ],
)
async def test_bad_data_set(
    models: Models,
    with_data: RuntimeConfig,
    workspace: Path,
    dataset: Write,
    arrays: dict[str, np.ndarray | None],
    code: str,
) -> None:
    inputs = RuntimeInputs(models["linear"], models["other"], dataset(**arrays))
    error = await refused(with_data, inputs, workspace)
    assert error.code == code, error.detail


class _Boom:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("unpickled",)


async def test_a_pickle_is_not_run(models: Models, with_data: RuntimeConfig, workspace: Path) -> None:
    plain = workspace / "plain.npz"
    plain.write_bytes(pickle.dumps(_Boom()))
    member = workspace / "member.npz"
    with zipfile.ZipFile(member, "w") as archive:
        archive.writestr("x.npy", pickle.dumps(_Boom()))
    for path in (plain, member):
        error = await refused(with_data, RuntimeInputs(models["linear"], models["other"], path), workspace)
        assert error.code == "dataset_unsafe"
    assert not (workspace / "unpickled").exists()


async def test_a_bomb_is_not_unpacked(models: Models, with_data: RuntimeConfig, workspace: Path) -> None:
    path = workspace / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as stream:
        for _ in range(1100):
            stream.write(bytes(1 << 20))
    started = time.monotonic()
    error = await refused(with_data, RuntimeInputs(models["linear"], models["other"], path), workspace)
    assert error.code == "dataset_unsafe"
    assert time.monotonic() - started < 30


async def test_open_dimension(models: Models, config: RuntimeConfig, workspace: Path) -> None:
    asked = msgspec.structs.replace(config, batch=None)
    error = await refused(asked, RuntimeInputs(models["linear"], models["other"], None), workspace)
    assert error.code == "dynamic_dimension"


async def test_unknown_backend(models: Models, config: RuntimeConfig, workspace: Path) -> None:
    asked = msgspec.structs.replace(config, backend="abacus")
    error = await refused(asked, RuntimeInputs(models["linear"], models["other"], None), workspace)
    assert (error.code, error.fault) == ("backend_missing", "device")


async def a_measured_process(where: psutil.Process) -> psutil.Process:
    """The first measured process below ``where`` that is stopped, so that its pair is under way."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for one in where.children():
            try:
                if "edgeproof.runtime.process" in one.cmdline() and one.status() == psutil.STATUS_STOPPED:
                    return one
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        await asyncio.sleep(0.002)
    raise AssertionError("no measured process was seen stopped")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, "memory_limit"), (signal.SIGTERM, "stage_crashed")]
)
async def test_a_process_that_dies(
    models: Models, long_blocks: RuntimeConfig, workspace: Path, number: signal.Signals, code: str
) -> None:
    inputs = RuntimeInputs(models["linear"], models["other"], None)
    task = asyncio.ensure_future(play(long_blocks, inputs, workspace))
    os.kill((await a_measured_process(psutil.Process())).pid, number)
    with pytest.raises(StageFailed) as caught:
        await task
    assert caught.value.code == code
    assert number.name in caught.value.detail or code == "stage_crashed"
    assert left_behind() == []


async def test_cancelling_leaves_no_process(
    models: Models, long_blocks: RuntimeConfig, workspace: Path
) -> None:
    inputs = RuntimeInputs(models["linear"], models["other"], None)
    task = asyncio.ensure_future(play(long_blocks, inputs, workspace))
    await a_measured_process(psutil.Process())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left_behind() == []


SCRIPT = """
import asyncio, sys, msgspec, pathlib
from edgeproof.contract.errors import StageFailed
from edgeproof.contract.statements import RuntimeConfig
from edgeproof.runtime.duet import RuntimeInputs, measure
folder, baseline, candidate = map(pathlib.Path, sys.argv[1:])
config = msgspec.json.decode((folder / "config.json").read_bytes(), type=RuntimeConfig)
inputs = RuntimeInputs(baseline, candidate, None)
try:
    asyncio.run(measure(config, inputs, folder, enough=lambda _: False, on_progress=lambda _: None))
except StageFailed as error:
    print(error.code)
"""


async def start(
    config: RuntimeConfig, workspace: Path, candidate: Path, limit: tuple[int, int] | None = None
) -> asyncio.subprocess.Process:
    """A measurement in a process of its own; ``limit`` is a resource and its bound there."""
    (workspace / "config.json").write_bytes(msgspec.json.encode(config))

    def confine() -> None:
        if limit:
            resource.setrlimit(limit[0], (limit[1], limit[1]))

    baseline = candidate.with_name("linear.onnx")
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT, str(workspace), str(baseline), str(candidate),
        stdout=asyncio.subprocess.PIPE, preexec_fn=confine,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("limit", "code"),
    [((resource.RLIMIT_DATA, 200 << 20), "memory_limit"), ((resource.RLIMIT_FSIZE, 512), "disk_full")],
)
async def test_limits(
    models: Models, config: RuntimeConfig, workspace: Path, limit: tuple[int, int], code: str
) -> None:
    name = "large" if code == "memory_limit" else "linear"
    process = await start(config, workspace, models[name], limit)
    output, _ = await process.communicate()
    assert output.decode().strip() == code


async def test_what_the_limit_refuses_runs_without_it(
    models: Models, config: RuntimeConfig, workspace: Path
) -> None:
    output, _ = await (await start(config, workspace, models["large"])).communicate()
    assert output == b""


async def test_processes_die_with_their_parent(
    models: Models, long_blocks: RuntimeConfig, workspace: Path
) -> None:
    """``kill -9`` of the parent: stopped processes read no closed pipe, and must go all the same."""
    parent = await start(long_blocks, workspace, models["linear"])
    seen = await a_measured_process(psutil.Process(parent.pid))
    pair = [one for one in psutil.Process(parent.pid).children() if one.pid != seen.pid] + [seen]
    parent.kill()
    await parent.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, pair, 10)
    assert alive == []
