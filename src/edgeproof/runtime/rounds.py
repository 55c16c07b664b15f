"""The rounds of processes that are compared: a block of each side, and again what is contaminated.

The round begins anew with the contaminated block only; where that is in vain, the load has changed for
good, and both sides are played again. What a round ends with are two blocks that bore the same load, or
two flagged ones once the plan's repeats are spent. Every block played is kept. How a block is run is the
caller's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from edgeproof.contract.statements import DuetPlan
from edgeproof.domain.contamination import CONTENDED, UNMATCHED, alike
from edgeproof.domain.sides import Side, block_order

S = TypeVar("S", bound=str)


class Measured(msgspec.Struct, frozen=True):
    """A block as the measured process reports it; ``flags`` are what happened to the device meanwhile."""

    started_ns: int
    settle_ns: tuple[int, ...]
    samples_ns: tuple[int, ...]
    load: float
    wait: float
    flags: tuple[str, ...]
    peak_rss_bytes: int


async def play_rounds(
    first: Side, plan: DuetPlan, run: Callable[[Side], Awaitable[Measured]]
) -> dict[Side, list[Measured]]:
    """Play ``plan.blocks`` rounds of a pair; ``run`` plays one block. Raises what ``run`` raises."""
    turns = block_order(first, plan.blocks)
    return await play_orders([(turns[at], turns[at + 1]) for at in range(0, len(turns), 2)], plan, run)


async def play_orders(
    orders: Sequence[tuple[S, ...]], plan: DuetPlan, run: Callable[[S], Awaitable[Measured]]
) -> dict[S, list[Measured]]:
    """A round for each of ``orders``, which says in what order its sides play. Raises what ``run`` raises."""
    rounds = _Rounds(plan, run)
    for order in orders:
        await rounds.play(order)
    return rounds.played


class _Rounds(Generic[S]):
    def __init__(self, plan: DuetPlan, run: Callable[[S], Awaitable[Measured]]) -> None:
        self._difference = plan.load_difference
        self._repeats = plan.repeats
        self._run = run
        self.played: dict[S, list[Measured]] = {}

    async def play(self, order: tuple[S, ...]) -> None:
        turns = order
        failures = 0
        while True:
            for side in turns:
                self.played.setdefault(side, []).append(await self._run(side))
            self._compare(order)
            bad = tuple(side for side in order if self.played[side][-1].flags)
            if not bad:
                return
            failures += 1
            turns = bad if failures % 2 else order
            spent = self._repeats < len(turns)
            for side in order if spent else turns:
                if side not in bad:
                    self._flag(side, UNMATCHED)
            if spent:
                return
            self._repeats -= len(turns)

    def _compare(self, order: tuple[S, ...]) -> None:
        latest = {side: self.played[side][-1] for side in order}
        if any(block.flags for block in latest.values()):
            return
        least = min(block.wait for block in latest.values())
        for side, block in latest.items():
            if not alike(block.wait, least, self._difference):
                self._flag(side, CONTENDED)

    def _flag(self, side: S, flag: str) -> None:
        block = self.played[side][-1]
        self.played[side][-1] = msgspec.structs.replace(block, flags=(*block.flags, flag))
