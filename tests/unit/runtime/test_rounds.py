"""Which blocks are played again, with blocks that say what they waited; real processes are elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest

from edgeproof.contract.statements import DuetPlan
from edgeproof.domain.sides import Side
from edgeproof.runtime.rounds import Measured, play_orders, play_rounds

PLAN = DuetPlan(
    looks=(8,),
    confidence=0.95,
    gates={"p50": 3.0},
    blocks=2,
    repeats=4,
    load_difference=0.05,
    calls_per_block=1,
    settle_calls=0,
    warmup_calls=0,
    warmup_windows=2,
    warmup_tolerance_pct=5.0,
)


async def played(*said: float | str, plan: DuetPlan = PLAN) -> list[tuple[str, str]]:
    """The blocks in order of time, as initial and flags; ``said`` are their waits, or an event."""
    saying = iter(said)
    order: list[tuple[Side, int]] = []

    async def run(side: Side) -> Measured:
        word = next(saying)
        block = Measured(
            started_ns=len(order),
            settle_ns=(),
            samples_ns=(1,),
            load=0.0,
            wait=0.0 if isinstance(word, str) else word,
            flags=(word,) if isinstance(word, str) else (),
            peak_rss_bytes=1,
        )
        order.append((side, sum(1 for one, _ in order if one == side)))
        return block

    blocks = await play_rounds("baseline", plan, run)
    assert list(saying) == []
    return [(side[0], "+".join(blocks[side][at].flags)) for side, at in order]


def clean(turns: str) -> list[tuple[str, str]]:
    return [(turn, "") for turn in turns]


async def test_quiet_blocks_alternate() -> None:
    assert await played(0, 0, 0, 0.05) == clean("bccb")


async def test_a_load_on_one_block_is_repeated() -> None:
    assert await played(0.5, 0, 0, 0, 0) == [("b", "contended"), *clean("cbcb")]
    assert await played(0, 0.5, 0, 0, 0) == [("b", ""), ("c", "contended"), *clean("ccb")]


async def test_a_load_on_both_sides_is_background() -> None:
    assert await played(0.5, 0.4, 0.3, 0.6) == clean("bccb")


@pytest.mark.parametrize("event", ["throttled", "swapped", "frequency"])
async def test_an_event_is_repeated_whatever_the_load(event: str) -> None:
    assert await played(0, event, 0, 0, 0) == [("b", ""), ("c", event), *clean("ccb")]


async def test_both_may_be_repeated_at_once() -> None:
    assert await played("throttled", "swapped", 0, 0, 0, 0) == [
        ("b", "throttled"), ("c", "swapped"), *clean("bccb"),
    ]  # fmt: skip


async def test_a_load_that_stays_is_waited_for_on_the_other_side_too() -> None:
    assert await played(0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5) == [
        ("b", "unmatched"), ("c", "contended"), ("c", "contended"), *clean("bccb"),
    ]  # fmt: skip


async def test_a_round_that_was_never_clean_has_no_clean_block() -> None:
    """Four repeats: one, two, one, and none left; the second round is flagged without a repeat."""
    waits = [0, 0.5, 0.5, 0, 0.5, 0.5, 0, 0.5]
    assert await played(*waits) == [
        ("b", "unmatched"), ("c", "contended"), ("c", "contended"), ("b", "unmatched"), ("c", "contended"),
        ("c", "contended"), ("c", "unmatched"), ("b", "contended"),
    ]  # fmt: skip


async def test_without_repeats_nothing_is_repeated() -> None:
    plan = msgspec.structs.replace(PLAN, repeats=0)
    assert await played(0.5, 0, 0, 0, plan=plan) == [("b", "contended"), ("c", "unmatched"), *clean("cb")]


def every_third(count: int, phase: int) -> Iterable[float]:
    return (0.5 if index % 3 == phase else 0.0 for index in range(count))


@pytest.mark.parametrize("phase", [0, 1, 2])
async def test_a_load_on_every_third_block_marks_those_and_no_others(phase: int) -> None:
    plan = msgspec.structs.replace(PLAN, blocks=10, repeats=10)
    total = 20 + sum(1 for index in range(30) if index % 3 == phase)
    # The last repeat may end the pair one block early.
    total -= phase == 2
    blocks = await played(*every_third(total, phase), plan=plan)
    assert [index for index, (_, flags) in enumerate(blocks) if flags] == list(range(phase, total, 3))
    assert [sum(block == (side, "") for block in blocks) for side in "bc"] == [10, 10]


async def test_of_three_sides_each_is_compared_with_the_one_that_waited_least() -> None:
    """Two are played again alone; one still waits, so that all are; then all are alike."""
    waits = {"a": [0.3, 0.02, 0.0], "b": [0.0, 0.0], "c": [0.2, 0.3, 0.04]}
    order: list[str] = []

    async def run(side: str) -> Measured:
        order.append(side)
        return Measured(
            started_ns=len(order),
            settle_ns=(),
            samples_ns=(1,),
            load=0.0,
            wait=waits[side].pop(0),
            flags=(),
            peak_rss_bytes=1,
        )

    plan = msgspec.structs.replace(PLAN, blocks=1, repeats=8)
    played = await play_orders([("a", "b", "c")], plan, run)
    assert "".join(order) == "abc" + "ac" + "abc"
    assert {side: [block.flags for block in blocks] for side, blocks in played.items()} == {
        "a": [("contended",), ("unmatched",), ()],
        "b": [("unmatched",), ()],
        "c": [("contended",), ("contended",), ()],
    }
