"""Lets calls that come one by one go many at once, where one statement and one commit can serve them all.

A call that finds nobody before it goes at once, alone; what comes while the rounds under way are busy goes
together with the next. So it costs an idle server nothing, and a busy one ever less for each call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

T = TypeVar("T")
A = TypeVar("A")
Serve = Callable[[Sequence[T]], Awaitable[Sequence[A | Exception]]]


class Gathering(Generic[T, A]):
    """Belongs to one event loop. ``most`` calls go together at most, in ``rounds`` at a time."""

    def __init__(self, *, most: int, rounds: int) -> None:
        self._most = most
        self._free = rounds
        self._waiting: deque[tuple[T, asyncio.Future[A]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, one: T, serve: Serve[T, A]) -> A:
        """What ``serve`` answers to ``one``, raised if it is an exception; what it raises itself, all get.

        Whoever is cancelled here gets no answer, but what was asked is done.
        """
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, answer))
        if self._free:
            self._free -= 1
            # Not in the context of this one call: the round is of many.
            task = asyncio.create_task(self._work(serve), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answer

    async def _work(self, serve: Serve[T, A]) -> None:
        try:
            while self._waiting:
                together = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
                await _serve(serve, together)
        finally:
            self._free += 1


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
