"""Whether raw data follow the planned protocol, and a measurement's numbers are those of its raw data.

Nothing here is judged. What cannot be recomputed from the raw data (artifact size, system facts, the
environment) is the runner's word.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import get_args

from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import LatencyMetric
from edgeproof.contract.results import RuntimeResult
from edgeproof.contract.samples import Block, PairSamples, RawQuality, RawSamples, SideQuality, SideSamples
from edgeproof.contract.statements import DuetPlan, MeasuredArtifact, Measurement, RuntimeConfig
from edgeproof.domain.contamination import CONTENDED, FLAGS, alike
from edgeproof.domain.measurement import (
    NOT_FINITE,
    accuracy_metrics,
    backend_key,
    cold_start,
    compare_key,
    fps,
    summarise,
)
from edgeproof.domain.warmup import finished, settled, window_calls


def check_results(measured: Measurement, samples: RawSamples, quality: RawQuality) -> None:
    """Raises ``Refused`` (``chain_broken``) naming the side and the number that differ."""
    plan = measured.config.plan
    _demand(len(samples.pairs) in plan.looks, f"{len(samples.pairs)} pairs are not a planned look")
    _demand([pair.index for pair in samples.pairs] == list(range(len(samples.pairs))), "pairs are missing")
    _check_protocol(plan, samples)
    for pair in samples.pairs:
        _check_processors(pair, measured.baseline.run_config.threads)
    _demand(
        set(measured.noise.floor_pct) <= set(get_args(LatencyMetric))
        and all(floor >= 0 for floor in measured.noise.floor_pct.values())
        and 0 <= measured.noise.background <= 1,
        "the noise floor is impossible",
    )
    _check_quality(measured.config, quality)
    baseline = tuple(pair.baseline for pair in samples.pairs)
    candidate = tuple(pair.candidate for pair in samples.pairs)
    config = measured.config
    _check_side("baseline", measured.baseline, config.baseline, config, baseline, quality, quality.baseline)
    _check_side(
        "candidate", measured.candidate, config.candidate, config, candidate, quality, quality.candidate
    )


def _check_protocol(plan: DuetPlan, samples: RawSamples) -> None:
    """Every planned call of every process is there, blocks are equally long, and no time is impossible."""
    sides = [side for pair in samples.pairs for side in (pair.baseline, pair.candidate)]
    for pair in samples.pairs:
        _check_rounds(plan, pair)
    for side in sides:
        _check_warmup(plan, side)
    blocks = [block for side in sides for block in side.blocks]
    _demand(all(len(block.settle_ns) == plan.settle_calls for block in blocks), "settling calls are missing")
    calls = {len(block.samples_ns) for block in blocks}
    _demand(len(calls) == 1, "the blocks have different numbers of calls")
    _demand(plan.calls_per_block in (0, *calls), "the blocks have another number of calls than planned")
    _demand(all(min(block.samples_ns, default=1) > 0 for block in blocks), "a call took no time")


def _check_rounds(plan: DuetPlan, pair: PairSamples) -> None:
    """The planned number of clean blocks on each side, or every repeat spent; what was dropped had a cause.

    Clean blocks match in order of time: those of one round bore the same load.
    """
    clean = [[block for block in side.blocks if not block.flags] for side in (pair.baseline, pair.candidate)]
    counts = tuple(map(len, clean))
    played, most = len(pair.baseline.blocks) + len(pair.candidate.blocks), 2 * plan.blocks + plan.repeats
    _demand(played <= most and max(counts) <= plan.blocks, "more blocks were played than planned")
    # A whole round is repeated with two blocks, so that one may be left over.
    whole = counts == (plan.blocks, plan.blocks) or (played >= most - 1 and len(set(counts)) == 1)
    _demand(whole, "the samples lack planned blocks")
    _check_order(pair, list(zip(*clean, strict=True)))
    for one, other in zip(*clean, strict=True):
        _demand(
            alike(one.wait, other.wait, plan.load_difference),
            "a block counts although the load differed between the sides",
        )
    for block in (*pair.baseline.blocks, *pair.candidate.blocks):
        _demand(set(block.flags) <= set(FLAGS), "a block has an unknown flag")
        _demand(
            CONTENDED not in block.flags or block.wait > plan.load_difference,
            "a block is said to be contended that hardly waited",
        )


def _check_order(pair: PairSamples, rounds: Sequence[tuple[Block, Block]]) -> None:
    """Blocks are listed as they were played, and a round ended before the next began: the estimate compares
    what was played together."""
    for side in (pair.baseline, pair.candidate):
        starts = [block.at_ns for block in side.blocks]
        _demand(all(one < other for one, other in pairwise(starts)), "blocks are not in the order of time")
    _demand(
        all(
            max(block.at_ns for block in one) < min(block.at_ns for block in other)
            for one, other in pairwise(rounds)
        ),
        "blocks of one round were not played together",
    )


def _check_processors(pair: PairSamples, threads: int) -> None:
    bound = pair.processors
    _demand(
        list(bound) == sorted(set(bound)) and min(bound, default=0) >= 0 and len(bound) in (0, threads),
        "a pair ran on impossible processors",
    )


def _check_warmup(plan: DuetPlan, side: SideSamples) -> None:
    """Warm-up went on, window by window, until it came to rest or to its bound, and says which."""
    window, tolerance = window_calls(plan.warmup_calls), plan.warmup_tolerance_pct
    count = len(side.warmup_ns)
    _demand(
        count % max(window, 1) == 0 and finished(side.warmup_ns, window, tolerance, plan.warmup_windows),
        "warm-up calls are missing",
    )
    earlier = side.warmup_ns[: count - window]
    _demand(
        window == 0 or not finished(earlier, window, tolerance, plan.warmup_windows),
        "the warm-up went on after its end",
    )
    _demand(side.settled == settled(side.warmup_ns, window, tolerance), "the warm-up did not end as it says")


def _check_side(
    name: str,
    result: RuntimeResult,
    told: MeasuredArtifact,
    config: RuntimeConfig,
    sides: tuple[SideSamples, ...],
    quality: RawQuality,
    outputs: SideQuality,
) -> None:
    try:
        summary = summarise(sides)
    except ValueError as error:
        raise Refused("chain_broken", f"the {name} has no counted samples") from error
    accuracy = (result.accuracy.metrics, result.accuracy.samples) if result.accuracy else None
    metrics = accuracy_metrics(quality.labels, outputs)
    ran = result.run_config
    key = compare_key(result.model, result.batch, result.height, result.width, result.precision, ran.threads)
    facts: dict[str, tuple[object, object]] = {
        "artifact": (result.extra.runtime_artifact_sha256, told.artifact),
        "source model": (result.extra.source_model_sha256, told.source),
        "backend": ((result.backend, result.target), (config.backend, config.target)),
        "backend key": (result.backend_key, backend_key(config.backend, config.target)),
        "latency summary": (result.latency_ms, summary),
        "mean": (result.mean_ms, summary.mean),
        "p50": (result.p50_ms, summary.p50),
        "p95": (result.p95_ms, summary.p95),
        "p99": (result.p99_ms, summary.p99),
        "frame rate": (result.fps_value, fps(summary.mean, result.batch)),
        "cold start": (result.cold_start, cold_start(sides)),
        "peak memory": (result.peak_memory_bytes, max(side.peak_rss_bytes for side in sides)),
        "number of pairs": (ran.pairs, len(sides)),
        "number of blocks": (ran.blocks, config.plan.blocks),
        "number of calls": (ran.runs, len(sides[0].blocks[0].samples_ns)),
        "number of threads": (ran.threads, config.threads or ran.threads),
        "accuracy": (accuracy, metrics and (metrics, quality.samples)),
        "compare key": (result.compare_key, key),
        "model": (result.model, told.model_name),
        "precision": (result.precision, told.precision),
        "input": ({ran.input_source, result.extra.input_mode}, {_input(config)}),
        "number of settling calls": (ran.warmup, config.plan.settle_calls),
    }
    for what, (stated, recomputed) in facts.items():
        _demand(stated == recomputed, f"the {name}'s {what} is not that of the raw data")


def _input(config: RuntimeConfig) -> str:
    return "random" if config.dataset is None else "dataset"


def _check_quality(config: RuntimeConfig, quality: RawQuality) -> None:
    count = quality.samples
    _demand(count > 0, "no output was looked at")
    for side in (quality.baseline, quality.candidate):
        _demand(side.predictions is None or len(side.predictions) == count, "predictions are missing")
        unknown = 0 if side.predictions is None else side.predictions.count(NOT_FINITE)
        _demand(unknown <= side.nonfinite <= count, "the count of non-finite outputs is impossible")
    for name, values in (("labels", quality.labels), ("groups", quality.groups)):
        _demand(values is None or len(values) == count, f"{name} are missing")
    agreements = (quality.cosine, quality.max_abs_error, quality.relative_error)
    _demand(all(len(one) == count for one in agreements), "agreements are missing")
    _demand(min(quality.relative_error) >= 0, "a relative error is negative")
    # A label that is no class would make an output that is not finite a right answer.
    _demand(min(quality.labels or (0,)) >= 0, "a label is negative")
    _demand(config.dataset is not None or quality.labels is None, "labels without a data set")


def _demand(holds: bool, message: str) -> None:
    if not holds:
        raise Refused("chain_broken", message)
