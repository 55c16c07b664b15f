"""Lets calls that come one by one go many at once, where one statement and one commit can serve them all.

A call that finds nobody before it goes at once, alone; what comes while a round is under way goes together
with the next. So it costs an idle server nothing, and a busy one ever less for each call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import Context
from typing import Final, Generic, TypeVar

T = TypeVar("T")
A = TypeVar("A")
Serve = Callable[[Sequence[T]], Awaitable[Sequence[A | Exception]]]

MOST: Final = 64
"""Calls in one round."""
PATIENCE_SECONDS: Final = 0.5


def one_of_each(items: Sequence[T], key: Callable[[T], str]) -> Iterator[dict[int, T]]:
    """``items`` by their places, in rounds of which each holds a key once: the first of each, then the second
    of each. What serves many at once sees them as they were before, and of two of one key only one."""
    left = dict(enumerate(items))
    while left:
        first: dict[str, int] = {}
        for place, item in left.items():
            first.setdefault(key(item), place)
        yield {place: left.pop(place) for place in first.values()}


class Gathering(Generic[T, A]):
    """Belongs to one event loop. One round at a time, but nobody waits longer than ``patience`` seconds for a
    round that is stuck (behind a lock, say): then the next begins beside it."""

    def __init__(self, patience: float = PATIENCE_SECONDS) -> None:
        self._patience = patience
        self._waiting: deque[tuple[T, asyncio.Future[A]]] = deque()
        self._under_way: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, one: T, serve: Serve[T, A]) -> A:
        """What ``serve`` answers to ``one``, raised if it is an exception; what it raises itself, all get.
        ``serve`` is the same in every call.

        Whoever is cancelled before its round is not served; in it, what was asked is done and not answered.
        """
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, answer))
        if self._under_way is None:
            self._begin(serve)
        return await answer

    def _begin(self, serve: Serve[T, A]) -> None:
        # Not in the context of one call: the round is of many.
        task = self._under_way = asyncio.create_task(self._work(serve), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, serve: Serve[T, A]) -> None:
        me = asyncio.current_task()
        try:
            while self._under_way is me and (together := self._next_round()):
                stuck = asyncio.get_running_loop().call_later(self._patience, self._pass_on, serve)
                try:
                    await _serve(serve, together)
                finally:
                    stuck.cancel()
        finally:
            if self._under_way is me:
                self._under_way = None

    def _next_round(self) -> list[tuple[T, asyncio.Future[A]]]:
        together: list[tuple[T, asyncio.Future[A]]] = []
        while self._waiting and len(together) < MOST:
            one, answer = self._waiting.popleft()
            if not answer.done():
                together.append((one, answer))
        return together

    def _pass_on(self, serve: Serve[T, A]) -> None:
        self._under_way = None
        if self._waiting:
            self._begin(serve)


async def _serve(serve: Serve[T, A], together: Sequence[tuple[T, asyncio.Future[A]]]) -> None:
    told: Sequence[A | Exception]
    try:
        told = await serve([one for one, _ in together])
    except Exception as error:
        told = [error] * len(together)
    except BaseException:
        for _, answer in together:
            answer.cancel()
        raise
    for (_, answer), one in zip(together, told, strict=True):
        if answer.done():
            continue
        if isinstance(one, Exception):
            answer.set_exception(one)
        else:
            answer.set_result(one)
