"""One rotation: fresh processes of all variants of a model, interleaved as the two sides of a pair are.

The protocol is the runner's: all start together on the same processors, each loads and warms up alone,
whoever is not measured is stopped, and blocks that bore another load than the quietest of their round are
played again. Of one rotation, each variant makes a process pair with whom it is compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec

from edgeproof.bench.verdict.traces import Sequential
from edgeproof.bench.verdict.variants import BASELINE, reference_of
from edgeproof.contract.samples import PairSamples, SideSamples
from edgeproof.contract.statements import DuetPlan
from edgeproof.domain.warmup import window_calls
from edgeproof.runtime import environment
from edgeproof.runtime.child import Child, children
from edgeproof.runtime.pairs import MODULE, Loaded, calls_for, shared_processors, side_samples, turn_of
from edgeproof.runtime.rounds import Measured, play_orders

SEQUENTIAL_SETTLE: Final = 5
SEQUENTIAL_CALLS: Final = 50
"""Warm-up and counted calls of a sequential trace: what the originals' runtime does unasked."""


@dataclass(frozen=True)
class Variant:
    """``backend`` is ``module:attribute`` of what executes ``artifact``."""

    name: str
    backend: str
    artifact: Path


@dataclass(frozen=True)
class RotationStage:
    """``variants`` begin with the baseline. ``feed`` is an ``.npy`` file for the input ``x``.

    ``same_processors`` is the runner's way; without it each process runs where the scheduler puts it. All
    keep off the processor ``busy``.
    """

    variants: tuple[Variant, ...]
    feed: Path
    workspace: Path
    threads: int
    plan: DuetPlan
    same_processors: bool = True
    busy: int | None = None

    def processors(self, index: int) -> tuple[int, ...]:
        """Where the processes of rotation ``index`` are bound; none: nowhere."""
        if self.busy is not None:
            free = [core for core in environment.cores() if self.busy not in core]
            return turn_of(free, index, self.threads) or tuple(chain.from_iterable(free))
        return shared_processors(index, self.threads) if self.same_processors else ()


@dataclass(frozen=True)
class Played:
    order: tuple[str, ...]
    calls: int
    sides: dict[str, SideSamples]
    sequential: dict[str, Sequential]


def first_order(names: Sequence[str], index: int) -> tuple[str, ...]:
    """Turned by one place from one rotation to the next."""
    at = index % len(names)
    return (*names[at:], *names[:at])


def orders(first: tuple[str, ...], rounds: int) -> list[tuple[str, ...]]:
    """There and back: a steady drift falls on all alike."""
    return [first if number % 2 == 0 else first[::-1] for number in range(rounds)]


def pair_of(order: Sequence[str], sides: dict[str, SideSamples], variant: str, index: int) -> PairSamples:
    """The process pair of ``variant`` and whom it is compared with."""
    reference = reference_of(variant)
    first = order.index(reference) < order.index(variant)
    return PairSamples(
        index=index,
        first="baseline" if first else "candidate",
        baseline=sides[reference],
        candidate=sides[variant],
        processors=(),
    )


class _Process:
    """A measuring process, stopped but for its own turn."""

    def __init__(self, child: Child) -> None:
        self._child = child

    async def load(self, stage: RotationStage, artifact: Path) -> Loaded:
        self._child.resume()
        loaded = await self._child.ask(
            "load",
            Loaded,
            artifact=str(artifact),
            threads=stage.threads,
            feeds={"x": str(stage.feed)},
            window=window_calls(stage.plan.warmup_calls),
            most_windows=stage.plan.warmup_windows,
            tolerance_pct=stage.plan.warmup_tolerance_pct,
        )
        self._child.stop()
        return loaded

    async def block(self, settle: int, calls: int) -> Measured:
        self._child.resume()
        block = await self._child.ask("block", Measured, settle=settle, calls=calls)
        self._child.stop()
        return block


async def play(stage: RotationStage, index: int, *, calls: int, sequential: bool) -> Played:
    """``calls`` a block, 0 for about 20 ms of them. Raises ``StageFailed``; no process is left."""
    names = [variant.name for variant in stage.variants]
    first = first_order(names, index)

    def starter(variant: Variant) -> Child:
        return Child(MODULE, variant.backend, stage.workspace, variant.name)

    with children(*(lambda variant=variant: starter(variant) for variant in stage.variants)) as running:
        await asyncio.gather(*(child.ready() for child in running))
        for child in running:
            child.bind(stage.processors(index))
            child.stop()
        processes = dict(zip(names, map(_Process, running), strict=True))
        artifacts = {variant.name: variant.artifact for variant in stage.variants}
        loaded = {name: await processes[name].load(stage, artifacts[name]) for name in first}
        calls = calls or calls_for([loaded[BASELINE]])
        before = await _alone(processes, first) if sequential else {}
        # Repeats are for two sides; here they have more to serve.
        repeats = stage.plan.repeats * len(names) // 2
        measured = await play_orders(
            orders(first, stage.plan.blocks),
            msgspec.structs.replace(stage.plan, repeats=repeats),
            lambda name: processes[name].block(stage.plan.settle_calls, calls),
        )
        after = await _alone(processes, first) if sequential else {}
    origin = min(block.started_ns for blocks in measured.values() for block in blocks)
    return Played(
        order=first,
        calls=calls,
        sides={name: side_samples(loaded[name], measured[name], origin) for name in names},
        sequential={name: Sequential(before=before[name], after=after[name]) for name in before},
    )


async def _alone(processes: dict[str, _Process], order: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """One process after the other, each in one go."""
    return {
        name: (await processes[name].block(SEQUENTIAL_SETTLE, SEQUENTIAL_CALLS)).samples_ns for name in order
    }
