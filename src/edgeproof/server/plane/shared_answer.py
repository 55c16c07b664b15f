"""Lets many ask the same at the cost of one: one question at a time, its answer kept for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedAnswer(Generic[T]):
    """Belongs to one event loop and to one question."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asking: asyncio.Task[T] | None = None
        self._kept: tuple[float, T] | None = None

    async def get(self, ask: Callable[[], Awaitable[T]], seconds: float) -> T:
        """What ``ask`` answers, or was asked less than ``seconds`` ago; who comes while it is asked gets that
        answer, too. Whoever is cancelled here leaves the question to the others.

        Raises what ``ask`` raises, which is not kept.
        """
        if self._kept is not None and self._clock() - self._kept[0] < seconds:
            return self._kept[1]
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(ask), context=Context())
        return await asyncio.shield(self._asking)

    async def _ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        began = self._clock()
        try:
            answer = await ask()
        finally:
            self._asking = None
        self._kept = began, answer
        return answer
