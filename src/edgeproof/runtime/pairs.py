"""The pairs of a duet (DESIGN 14): baseline and candidate in fresh processes, interleaved, one at a time.

A pair: both interpreters start together, bound to the same processors; then each side alone loads, infers
once and warms up until its calls come to rest; then blocks alternate A B, B A, A B, … so that a drift falls
on both. Whoever is not measured is stopped. Which side is A is drawn once for every two pairs and swapped
within them. Nothing starts or ends while a block is measured. Which blocks are played again is ``rounds``';
judging is the lab's.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean, median
from typing import Final

import msgspec

from edgeproof.contract.jobs import Progress
from edgeproof.contract.samples import Block, PairSamples, SideSamples
from edgeproof.contract.statements import DuetPlan
from edgeproof.domain.sides import SIDES, Side
from edgeproof.domain.warmup import window_calls
from edgeproof.runtime import environment
from edgeproof.runtime.child import Child, children
from edgeproof.runtime.rounds import Measured, play_rounds

MODULE: Final = "edgeproof.runtime.process"
BLOCK_NS: Final = 20_000_000
FEWEST_CALLS: Final = 5
MOST_CALLS: Final = 200


class Loaded(msgspec.Struct, frozen=True):
    load_ns: int
    first_ns: int
    warmup_ns: tuple[int, ...]
    settled: bool


@dataclass(frozen=True)
class Stage:
    """What the pairs of one duet share. ``feeds``: per input an ``.npy`` file; ``seed`` draws the order."""

    backend: str
    workspace: Path
    artifacts: Mapping[Side, Path]
    feeds: Mapping[str, str]
    threads: int
    plan: DuetPlan
    seed: int


def first_side(index: int, seed: int) -> Side:
    """Who begins pair ``index``: drawn for each two pairs, swapped within them."""
    drawn = random.Random(f"{seed}:{index // 2}").randrange(2)
    return SIDES[drawn ^ (index % 2)]


def calls_for(loaded: Sequence[Loaded]) -> int:
    """Calls that make a block of about 20 ms at the mean of both sides' speeds when warm."""
    typical = [median(one.warmup_ns[len(one.warmup_ns) // 2 :] or (one.first_ns,)) for one in loaded]
    return min(max(round(BLOCK_NS / max(fmean(typical), 1)), FEWEST_CALLS), MOST_CALLS)


async def play(
    stage: Stage,
    *,
    enough: Callable[[Sequence[PairSamples]], bool],
    on_progress: Callable[[Progress], None],
) -> tuple[PairSamples, ...]:
    """Pairs up to the first planned look at which ``enough`` says so, or the last. Raises ``StageFailed``."""
    looks = sorted(set(stage.plan.looks))
    pairs: list[PairSamples] = []
    rhythm = _Rhythm(stage.plan.calls_per_block)
    for look in looks:
        while len(pairs) < look:
            on_progress(Progress(completed=len(pairs), total=look, unit="pairs", message="measuring"))
            pairs.append(await _pair(stage, len(pairs), rhythm))
        on_progress(Progress(completed=len(pairs), total=look, unit="pairs", message="measuring"))
        if enough(pairs):
            break
    return tuple(pairs)


def shared_processors(index: int, threads: int) -> tuple[int, ...]:
    """Where both sides of pair ``index`` run, so that neither has the better processors (``turn_of``); none
    where the system binds no process."""
    return turn_of(environment.cores(), index, threads) if hasattr(os, "sched_setaffinity") else ()


def turn_of(cores: Sequence[Sequence[int]], index: int, threads: int) -> tuple[int, ...]:
    """As many processors as threads, on as many of ``cores`` as can be, others for every two pairs; none if
    all are needed."""
    if threads >= sum(map(len, cores)):
        return ()
    first = index // 2 * threads % len(cores)
    turned = (*cores[first:], *cores[:first])
    by_level = (core[level] for level in range(max(map(len, cores))) for core in turned if level < len(core))
    return tuple(sorted(islice(by_level, threads)))


@dataclass
class _Rhythm:
    """What the first pair settles for all: calls a block, and the clock reading that counts as zero."""

    calls: int
    origin_ns: int | None = None


async def _pair(stage: Stage, index: int, rhythm: _Rhythm) -> PairSamples:
    first = first_side(index, stage.seed)
    processors = shared_processors(index, stage.threads)

    def start(side: Side) -> Callable[[], Child]:
        return lambda: Child(MODULE, stage.backend, stage.workspace, side)

    with children(*(start(side) for side in SIDES)) as running:
        sides = dict(zip(SIDES, running, strict=True))
        await asyncio.gather(*(child.ready() for child in running))
        bound = [child.bind(processors) for child in running]
        for child in running:
            child.stop()
        order = (first, SIDES[1 - SIDES.index(first)])
        loaded = {side: await _load(stage, side, sides[side]) for side in order}
        if not rhythm.calls:
            rhythm.calls = calls_for(list(loaded.values()))

        async def run(side: Side) -> Measured:
            child = sides[side]
            child.resume()
            block = await child.ask("block", Measured, settle=stage.plan.settle_calls, calls=rhythm.calls)
            child.stop()
            if rhythm.origin_ns is None:
                rhythm.origin_ns = block.started_ns
            return block

        measured = await play_rounds(first, stage.plan, run)
    origin = rhythm.origin_ns or 0
    return PairSamples(
        index=index,
        first=first,
        baseline=side_samples(loaded["baseline"], measured["baseline"], origin),
        candidate=side_samples(loaded["candidate"], measured["candidate"], origin),
        processors=processors if all(bound) else (),
    )


async def _load(stage: Stage, side: Side, child: Child) -> Loaded:
    child.resume()
    loaded = await child.ask(
        "load",
        Loaded,
        artifact=str(stage.artifacts[side]),
        threads=stage.threads,
        feeds=dict(stage.feeds),
        window=window_calls(stage.plan.warmup_calls),
        most_windows=stage.plan.warmup_windows,
        tolerance_pct=stage.plan.warmup_tolerance_pct,
    )
    child.stop()
    return loaded


def side_samples(loaded: Loaded, blocks: Sequence[Measured], origin_ns: int) -> SideSamples:
    return SideSamples(
        load_ns=loaded.load_ns,
        first_ns=loaded.first_ns,
        warmup_ns=loaded.warmup_ns,
        settled=loaded.settled,
        blocks=tuple(
            Block(
                at_ns=block.started_ns - origin_ns,
                settle_ns=block.settle_ns,
                samples_ns=block.samples_ns,
                load=block.load,
                wait=block.wait,
                flags=block.flags,
            )
            for block in blocks
        ),
        peak_rss_bytes=max(block.peak_rss_bytes for block in blocks),
    )
