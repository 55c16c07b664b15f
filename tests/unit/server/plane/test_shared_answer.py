"""One question at a time, its answer kept for a while; by a clock of the test's own."""

from __future__ import annotations

import asyncio

import pytest

from edgeproof.server.plane.shared_answer import SharedAnswer


class Oracle:
    """Answers how often it was asked, once it may."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.trouble: Exception | None = None
        self.shared: SharedAnswer[int] = SharedAnswer(lambda: self.now)

    async def __call__(self) -> int:
        self.asked += 1
        asked = self.asked
        await self.may_answer.wait()
        if self.trouble is not None:
            raise self.trouble
        return asked

    async def get(self, seconds: float = 5.0) -> int:
        return await self.shared.get(self, seconds)


async def test_an_answer_is_kept_for_as_long_as_is_said() -> None:
    oracle = Oracle()
    assert [await oracle.get(), await oracle.get(), await oracle.get(0)] == [1, 1, 2]
    oracle.now = 4.9
    assert await oracle.get() == 2
    oracle.now = 5.0
    assert await oracle.get() == 3


async def test_it_is_as_old_as_its_question() -> None:
    oracle = Oracle()
    oracle.may_answer.clear()
    asking = asyncio.create_task(oracle.get())
    while not oracle.asked:
        await asyncio.sleep(0)
    oracle.now = 5.0
    oracle.may_answer.set()
    assert [await asking, await oracle.get()] == [1, 2]


async def test_many_who_ask_at_once_cost_one_question_and_share_its_trouble() -> None:
    oracle = Oracle()
    oracle.trouble = OSError("away")
    many = await asyncio.gather(*(oracle.get(0) for _ in range(20)), return_exceptions=True)
    assert many == [oracle.trouble] * 20
    assert oracle.asked == 1
    oracle.trouble = None
    assert await oracle.get() == 2


async def test_who_goes_away_leaves_the_question_to_the_others() -> None:
    oracle = Oracle()
    oracle.may_answer.clear()
    first, second = asyncio.create_task(oracle.get()), asyncio.create_task(oracle.get())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    oracle.may_answer.set()
    assert (await second, oracle.asked) == (1, 1)
