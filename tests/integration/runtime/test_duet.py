"""A whole duet with real processes: what it hands over, and that one side at a time exists."""

from __future__ import annotations

import asyncio
import itertools
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest

from edgeproof.contract.canonical import canonical
from edgeproof.contract.jobs import Progress
from edgeproof.contract.samples import PairSamples
from edgeproof.contract.statements import RuntimeConfig
from edgeproof.domain.measurement import accuracy_metrics, summarise
from edgeproof.runtime import environment
from edgeproof.runtime.duet import DuetOutcome, RuntimeInputs, measure

from .conftest import left_behind

Models = dict[str, Path]


def never(_pairs: Sequence[PairSamples]) -> bool:
    return False


def ignore(_progress: Progress) -> None:
    pass


def measured_processes() -> list[psutil.Process]:
    return [
        one
        for one in psutil.Process().children()
        if one.status() != psutil.STATUS_ZOMBIE and "edgeproof.runtime.process" in one.cmdline()
    ]


async def test_measures_as_planned(
    models: Models, with_data: RuntimeConfig, workspace: Path, dataset: Callable[..., Path]
) -> None:
    plan = msgspec.structs.replace(with_data.plan, looks=(2, 4, 6))
    config = msgspec.structs.replace(with_data, plan=plan)
    asked: list[int] = []
    progress: list[Progress] = []

    def enough(pairs: Sequence[PairSamples]) -> bool:
        asked.append(len(pairs))
        return len(pairs) >= 4

    inputs = RuntimeInputs(models["linear"], models["other"], dataset(groups=np.arange(40) // 2))
    outcome = await measure(config, inputs, workspace, enough=enough, on_progress=progress.append)

    assert asked == [2, 4]
    pairs = outcome.samples.pairs
    assert [pair.index for pair in pairs] == [0, 1, 2, 3]
    assert all(
        {one.first, two.first} == {"baseline", "candidate"}
        for one, two in zip(pairs[::2], pairs[1::2], strict=True)
    )
    allowed = environment.allowed_processors()
    if sys.platform == "linux" and len(allowed) > 1:
        assert [len(pair.processors) for pair in pairs] == [1] * 4
        assert pairs[0].processors == pairs[1].processors != pairs[2].processors == pairs[3].processors
    for pair in pairs:
        for side in (pair.baseline, pair.candidate):
            assert [len(block.samples_ns) for block in side.blocks] == [20, 20]
            assert [len(block.settle_ns) for block in side.blocks] == [3, 3]
            assert len(side.warmup_ns) in (10, 15, 20)
            assert min(side.load_ns, side.first_ns, side.peak_rss_bytes) > 0
        starts = [
            (block.at_ns, name) for name in ("baseline", "candidate") for block in getattr(pair, name).blocks
        ]
        other = "candidate" if pair.first == "baseline" else "baseline"
        assert [name for _, name in sorted(starts)] == [pair.first, other, other, pair.first]
    assert (
        min(block.at_ns for pair in pairs for block in (*pair.baseline.blocks, *pair.candidate.blocks)) == 0
    )

    quality = outcome.quality
    assert (quality.samples, quality.labels, len(quality.cosine)) == (40, tuple(np.arange(40) % 4), 40)
    assert quality.groups == tuple(np.arange(40) // 2)
    for result, side, name in (
        (outcome.baseline, quality.baseline, "baseline"),
        (outcome.candidate, quality.candidate, "candidate"),
    ):
        assert result.latency_ms == summarise([getattr(pair, name) for pair in pairs])
        assert result.accuracy is not None
        assert result.accuracy.metrics == accuracy_metrics(quality.labels, side)
        assert result.input_shapes == {"x": (1, 16)}
        assert (result.run_config.pairs, result.run_config.runs, result.run_config.warmup) == (4, 20, 3)
        assert result.run_config.task == "classification"
        assert result.compare_key.endswith("__b1__hxwx__fp32__t1")
    with np.load(inputs.dataset or "") as data:
        weights = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
        assert quality.baseline.predictions == tuple((data["x"] @ weights).argmax(1))
    assert outcome.environment_before.versions["onnxruntime"]
    canonical(outcome.samples), canonical(quality)
    assert [one.completed for one in progress if one.message == "measuring"] == [0, 1, 2, 2, 3, 4]
    assert left_behind() == []


async def test_identical_models_agree_without_a_data_set(
    models: Models, config: RuntimeConfig, workspace: Path
) -> None:
    inputs = RuntimeInputs(models["linear"], models["linear"], None)
    outcome = await measure(config, inputs, workspace, enough=never, on_progress=ignore)
    quality = outcome.quality
    assert quality.samples == 64
    assert set(quality.cosine) == {1.0}
    assert set(quality.max_abs_error) == {0.0}
    assert set(quality.relative_error) == {0.0}
    assert quality.labels is None
    assert outcome.baseline.accuracy is None
    assert outcome.baseline.run_config.input_source == outcome.baseline.extra.input_mode == "random"


async def test_calls_per_block_are_chosen_once_for_both_sides(
    models: Models, config: RuntimeConfig, workspace: Path
) -> None:
    plan = msgspec.structs.replace(config.plan, calls_per_block=0)
    outcome = await measure(
        msgspec.structs.replace(config, plan=plan),
        RuntimeInputs(models["linear"], models["other"], None),
        workspace,
        enough=never,
        on_progress=ignore,
    )
    blocks = [
        block for pair in outcome.samples.pairs for block in (*pair.baseline.blocks, *pair.candidate.blocks)
    ]
    # A model of microseconds: 20 ms would be thousands of calls.
    assert {len(block.samples_ns) for block in blocks} == {200}


async def test_a_warm_up_that_never_settles_is_said(
    models: Models, config: RuntimeConfig, workspace: Path
) -> None:
    """One window has none to agree with."""
    plan = msgspec.structs.replace(config.plan, warmup_windows=1)
    outcome = await measure(
        msgspec.structs.replace(config, plan=plan),
        RuntimeInputs(models["linear"], models["other"], None),
        workspace,
        enough=never,
        on_progress=ignore,
    )
    sides = [side for pair in outcome.samples.pairs for side in (pair.baseline, pair.candidate)]
    assert {(len(side.warmup_ns), side.settled) for side in sides} == {(5, False)}


async def test_an_unknown_noise_floor_is_measured_on_the_baseline(
    models: Models, config: RuntimeConfig, workspace: Path
) -> None:
    inputs = RuntimeInputs(models["linear"], models["other"], None)
    plan = msgspec.structs.replace(config.plan, looks=(1, 2))
    asked: list[str] = []
    messages: list[str | None] = []

    async def play(known: bool) -> DuetOutcome:
        def noise_known(conditions: str, pairs: Sequence[PairSamples]) -> bool:
            asked.append(conditions)
            assert len(pairs) == 2
            return known

        return await measure(
            msgspec.structs.replace(config, plan=plan),
            inputs,
            workspace,
            enough=never,
            noise_known=noise_known,
            on_progress=lambda progress: messages.append(progress.message),
        )

    unknown = await play(known=False)
    assert (len(unknown.samples.pairs), len(unknown.twins)) == (2, 1)
    assert messages[-1] == "measuring the noise floor"
    known = await play(known=True)
    assert (len(known.samples.pairs), known.twins) == (2, ())
    # A model of microseconds may be of another magnitude a moment later: then the conditions differ.
    assert asked == [unknown.conditions, known.conditions]


async def test_a_batch_is_split_into_samples(
    models: Models, with_data: RuntimeConfig, workspace: Path, dataset: Callable[..., Path]
) -> None:
    """40 samples in calls of 16: the last call is filled up, and what fills it is not counted."""
    inputs = RuntimeInputs(models["linear"], models["other"], dataset())

    async def at(batch: int) -> DuetOutcome:
        config = msgspec.structs.replace(with_data, batch=batch)
        return await measure(config, inputs, workspace, enough=never, on_progress=ignore)

    one, sixteen = await at(1), await at(16)
    assert one.quality.samples == sixteen.quality.samples == 40
    assert one.quality.candidate.predictions == sixteen.quality.candidate.predictions
    assert sixteen.baseline.input_shapes == {"x": (16, 16)}
    assert math.isclose(sixteen.baseline.fps_value, 16_000 / sixteen.baseline.mean_ms, rel_tol=1e-4)


async def test_only_one_of_a_pair_runs(models: Models, long_blocks: RuntimeConfig, workspace: Path) -> None:
    """Sampled through ``/proc``: once a pair is under way, one of the two is always stopped."""
    inputs = RuntimeInputs(models["linear"], models["other"], None)
    task = asyncio.ensure_future(measure(long_blocks, inputs, workspace, enough=never, on_progress=ignore))
    alternating: set[frozenset[int]] = set()
    stopped: set[int] = set()
    bound: set[tuple[int, ...]] = set()
    looks = 0
    while not task.done():
        await asyncio.sleep(0.002)
        try:
            pair = measured_processes()
            started = time.perf_counter()
            states = [(one.pid, one.status() == psutil.STATUS_STOPPED) for one in (*pair, *pair[:1])]
            processors = {tuple(one.cpu_affinity()) for one in pair}
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if len(pair) != 2 or time.perf_counter() - started > 0.01:
            continue
        key = frozenset(one.pid for one in pair)
        idle = {pid for pid, is_stopped in states if is_stopped}
        if idle:
            alternating.add(key)
        if key in alternating:
            looks += 1
            stopped |= idle
            assert idle, f"both processes of a pair run: {states}"
            assert len(processors) == 1, "both run on the same processors"
            bound |= processors
    await task
    assert looks > 20
    assert len(stopped) == 4
    allowed = environment.allowed_processors()
    assert [len(one) for one in bound] == [1 if sys.platform == "linux" else len(allowed)]


async def test_measurements_take_turns(models: Models, config: RuntimeConfig, tmp_path: Path) -> None:
    events: list[tuple[str, Progress]] = []

    async def one(name: str) -> None:
        folder = tmp_path / name
        folder.mkdir()
        inputs = RuntimeInputs(models["linear"], models["other"], None)

        def report(progress: Progress) -> None:
            events.append((name, progress))

        await measure(config, inputs, folder, enough=never, on_progress=report)

    await asyncio.gather(one("a"), one("b"))
    waiting = {name for name, progress in events if progress.message == "waiting for the device"}
    assert waiting
    working = [name for name, progress in events if progress.message != "waiting for the device"]
    assert len(list(itertools.groupby(working))) == 2


@pytest.mark.parametrize("cores", [1, 2])
async def test_threads_are_part_of_the_compare_key(
    models: Models, config: RuntimeConfig, workspace: Path, cores: int
) -> None:
    inputs = RuntimeInputs(models["linear"], models["other"], None)
    asked = msgspec.structs.replace(config, threads=cores)
    outcome = await measure(asked, inputs, workspace, enough=never, on_progress=ignore)
    assert outcome.baseline.run_config.threads == cores
    assert outcome.candidate.compare_key.endswith(f"__t{cores}")
