"""Whether raw samples are of a duet as it was planned: its pairs, rounds, turns, warm-ups and processors.

The times are the runner's word; what contradicts itself was not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from edgeproof.contract.errors import Refused
from edgeproof.contract.samples import Block, PairSamples, SideSamples
from edgeproof.contract.statements import DuetPlan
from edgeproof.domain.contamination import CONTENDED, FLAGS, alike
from edgeproof.domain.sides import SIDES, block_order
from edgeproof.domain.warmup import finished, settled, window_calls


def demand(holds: bool, message: str) -> None:
    """Raises ``Refused`` (``chain_broken``) if not."""
    if not holds:
        raise Refused("chain_broken", message)


def check_protocol(plan: DuetPlan, pairs: Sequence[PairSamples], threads: int) -> None:
    """Every planned pair, turn and call is there, played as planned, and no time is impossible.

    Raises ``Refused`` (``chain_broken``).
    """
    demand(len(pairs) in plan.looks, f"{len(pairs)} pairs are not a planned look")
    demand([pair.index for pair in pairs] == list(range(len(pairs))), "pairs are missing")
    sides = [side for pair in pairs for side in (pair.baseline, pair.candidate)]
    for pair in pairs:
        _check_rounds(plan, pair)
        _check_turns(pair)
        _check_processors(pair, threads)
    _check_order_of_pairs(pairs)
    for side in sides:
        _check_warmup(plan, side)
    blocks = [block for side in sides for block in side.blocks]
    demand(all(len(block.settle_ns) == plan.settle_calls for block in blocks), "settling calls are missing")
    calls = {len(block.samples_ns) for block in blocks}
    demand(len(calls) == 1, "the blocks have different numbers of calls")
    demand(plan.calls_per_block in (0, *calls), "the blocks have another number of calls than planned")
    demand(all(min(block.samples_ns, default=1) > 0 for block in blocks), "a call took no time")


def _check_rounds(plan: DuetPlan, pair: PairSamples) -> None:
    """The planned number of clean blocks on each side, or every repeat spent; what was dropped had a cause.

    Clean blocks match in order of time: those of one round bore the same load.
    """
    clean = [[block for block in side.blocks if not block.flags] for side in (pair.baseline, pair.candidate)]
    counts = tuple(map(len, clean))
    played, most = len(pair.baseline.blocks) + len(pair.candidate.blocks), 2 * plan.blocks + plan.repeats
    demand(played <= most and max(counts) <= plan.blocks, "more blocks were played than planned")
    # A whole round is repeated with two blocks, so that one may be left over.
    whole = counts == (plan.blocks, plan.blocks) or (played >= most - 1 and len(set(counts)) == 1)
    demand(whole, "the samples lack planned blocks")
    _check_order(pair, list(zip(*clean, strict=True)))
    for one, other in zip(*clean, strict=True):
        demand(
            alike(one.wait, other.wait, plan.load_difference),
            "a block counts although the load differed between the sides",
        )
    for block in (*pair.baseline.blocks, *pair.candidate.blocks):
        demand(set(block.flags) <= set(FLAGS), "a block has an unknown flag")
        demand(
            CONTENDED not in block.flags or block.wait > plan.load_difference,
            "a block is said to be contended that hardly waited",
        )


def _check_order(pair: PairSamples, rounds: Sequence[tuple[Block, Block]]) -> None:
    """Blocks are listed as they were played, and a round ended before the next began: the estimate compares
    what was played together."""
    for side in (pair.baseline, pair.candidate):
        starts = [block.at_ns for block in side.blocks]
        demand(all(one < other for one, other in pairwise(starts)), "blocks are not in the order of time")
    demand(
        all(
            max(block.at_ns for block in one) < min(block.at_ns for block in other)
            for one, other in pairwise(rounds)
        ),
        "blocks of one round were not played together",
    )


def _check_turns(pair: PairSamples) -> None:
    """One side at a time, begun by the side that is said to be first; each round begins with the side that
    ended the one before, where no block was played again."""
    turns = sorted(
        ((block, side) for side in SIDES for block in getattr(pair, side).blocks),
        key=lambda turn: turn[0].at_ns,
    )
    for (block, _), (after, _) in pairwise(turns):
        demand(
            block.at_ns + sum(block.settle_ns) + sum(block.samples_ns) <= after.at_ns,
            "blocks of one pair ran at the same time",
        )
    demand(not turns or turns[0][1] == pair.first, "another side began than is said")
    if any(block.flags for block, _ in turns):
        return
    planned = block_order(pair.first, len(turns) // 2)
    demand([side for _, side in turns] == planned, "the sides did not take turns as planned")


def _check_order_of_pairs(pairs: Sequence[PairSamples]) -> None:
    """One pair after the other; of every two pairs, each side began one."""
    times = [
        [block.at_ns for block in (*pair.baseline.blocks, *pair.candidate.blocks)] or [0] for pair in pairs
    ]
    demand(all(max(one) < min(other) for one, other in pairwise(times)), "pairs were not played in order")
    demand(
        all(one.first != other.first for one, other in zip(pairs[::2], pairs[1::2], strict=False)),
        "one side began both of two pairs",
    )


def _check_processors(pair: PairSamples, threads: int) -> None:
    bound = pair.processors
    demand(
        list(bound) == sorted(set(bound)) and min(bound, default=0) >= 0 and len(bound) in (0, threads),
        "a pair ran on impossible processors",
    )


def _check_warmup(plan: DuetPlan, side: SideSamples) -> None:
    """Warm-up went on, window by window, until it came to rest or to its bound, and says which."""
    window, tolerance = window_calls(plan.warmup_calls), plan.warmup_tolerance_pct
    count = len(side.warmup_ns)
    demand(
        count % max(window, 1) == 0 and finished(side.warmup_ns, window, tolerance, plan.warmup_windows),
        "warm-up calls are missing",
    )
    earlier = side.warmup_ns[: count - window]
    demand(
        window == 0 or not finished(earlier, window, tolerance, plan.warmup_windows),
        "the warm-up went on after its end",
    )
    demand(side.settled == settled(side.warmup_ns, window, tolerance), "the warm-up did not end as it says")
