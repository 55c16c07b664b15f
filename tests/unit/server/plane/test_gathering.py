"""Calls that come while another is served go together with the next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from edgeproof.server.plane.gathering import MOST, Gathering


class Counter:
    """Answers each number with its double, odd ones with an exception, when it is let."""

    def __init__(self) -> None:
        self.rounds: list[list[int]] = []
        self.may = asyncio.Event()

    async def __call__(self, asked: Sequence[int]) -> Sequence[int | Exception]:
        self.rounds.append(list(asked))
        await self.may.wait()
        return [ValueError(str(one)) if one % 2 else 2 * one for one in asked]


async def all_of(gathering: Gathering[int, int], counter: Counter, asked: Sequence[int]) -> list[object]:
    calls = [asyncio.ensure_future(gathering.ask(one, counter)) for one in asked]
    while not counter.rounds:
        await asyncio.sleep(0)
    counter.may.set()
    return list(await asyncio.gather(*calls, return_exceptions=True))


async def test_what_comes_meanwhile_goes_together_in_order() -> None:
    counter = Counter()
    answers = await all_of(Gathering(), counter, range(MOST + 3))
    assert counter.rounds == [list(range(MOST)), [MOST, MOST + 1, MOST + 2]]
    assert [one for one in answers if isinstance(one, int)] == [2 * one for one in range(0, MOST + 3, 2)]
    assert [str(one) for one in answers if isinstance(one, ValueError)] == [
        str(one) for one in range(1, MOST + 3, 2)
    ]


async def test_a_call_that_finds_nobody_goes_at_once_and_the_next_too() -> None:
    gathering: Gathering[int, int] = Gathering()
    counter = Counter()
    counter.may.set()
    for number in (2, 4):
        assert await gathering.ask(number, counter) == 2 * number
    assert counter.rounds == [[2], [4]]


async def test_nobody_waits_for_a_round_that_is_stuck_and_its_own_answer_comes_in_the_end() -> None:
    gathering: Gathering[int, int] = Gathering(patience=0.01)
    rounds: list[list[int]] = []
    may = asyncio.Event()

    async def serve(asked: Sequence[int]) -> Sequence[int | Exception]:
        rounds.append(list(asked))
        if 2 in asked:
            await may.wait()
        return [2 * one for one in asked]

    first = asyncio.ensure_future(gathering.ask(2, serve))
    while not rounds:
        await asyncio.sleep(0)
    assert await gathering.ask(4, serve) == 8
    # The next finds no round under way: the stuck one counts no more.
    assert await gathering.ask(6, serve) == 12
    assert not first.done()
    may.set()
    assert await first == 4
    assert rounds == [[2], [4], [6]]


async def test_one_who_goes_away_takes_nothing_from_the_others() -> None:
    gathering: Gathering[int, int] = Gathering()
    counter = Counter()
    first, gone, last = (asyncio.ensure_future(gathering.ask(one, counter)) for one in (2, 4, 6))
    while not counter.rounds:
        await asyncio.sleep(0)
    gone.cancel()
    counter.may.set()
    assert await first == 4
    assert await last == 12
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert counter.rounds == [[2, 4, 6]]


async def test_one_who_went_away_before_its_round_is_not_served() -> None:
    gathering: Gathering[int, int] = Gathering()
    counter = Counter()
    first = asyncio.ensure_future(gathering.ask(2, counter))
    while not counter.rounds:
        await asyncio.sleep(0)
    gone, last = (asyncio.ensure_future(gathering.ask(one, counter)) for one in (4, 6))
    await asyncio.sleep(0)
    gone.cancel()
    counter.may.set()
    assert [await first, await last] == [4, 12]
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert counter.rounds == [[2], [6]]


async def test_what_serving_raises_every_one_of_the_round_gets_and_the_next_round_is_served() -> None:
    gathering: Gathering[int, int] = Gathering()

    async def broken(asked: Sequence[int]) -> Sequence[int | Exception]:
        raise OSError(len(asked))

    answers = await asyncio.gather(*(gathering.ask(one, broken) for one in range(3)), return_exceptions=True)
    assert [type(one) for one in answers] == [OSError] * 3
    counter = Counter()
    counter.may.set()
    assert await gathering.ask(2, counter) == 4
