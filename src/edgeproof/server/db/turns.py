"""Whose turn it is: of all runners that wait, each run that begins to wait wakes one, and not the crowd.

Pure but for the events it sets; one event loop. A call that its runner did not use (it left, was given
something else, or may not have such runs any more) passes on to the next. That a call is lost with a replica
is what polling is for.
"""

from __future__ import annotations

import asyncio
from typing import Final

RUNS_CHANNEL: Final = "edgeproof_runs"
"""Notified when runs begin to wait: ``<key> <count>``."""
EVERYBODY: Final = "*"
"""The key that calls all: there is a new class, and nobody knows yet who fits it."""


def turn_key(class_id: int, assigned_runner_id: str | None) -> str:
    """What a waiting run is called by: its class, or the one runner that it names."""
    return str(class_id) if assigned_runner_id is None else f"@{assigned_runner_id}"


class Turn:
    """One who waits for the runs of ``keys``.

    ``calls`` are the keys that it was called by since it last looked, ``trying`` those it looks for now.
    """

    def __init__(self, keys: frozenset[str]) -> None:
        self.keys = keys
        self.calls: list[str] = []
        self.trying: list[str] = []
        self._called = asyncio.Event()

    def call(self, key: str) -> None:
        self.calls.append(key)
        self._called.set()

    async def called(self) -> None:
        """Returns once there was a call since the last look."""
        await self._called.wait()

    def take_calls(self) -> None:
        """What it tried for before came to nothing: somebody else was quicker."""
        self.trying, self.calls = self.calls, []
        self._called.clear()

    def use(self, keys: frozenset[str]) -> None:
        """It has taken what calls by ``keys`` were for."""
        self.trying = [key for key in self.trying if key not in keys]

    def change_keys(self, keys: frozenset[str]) -> list[str]:
        """It may have the runs of ``keys`` and no others; the calls it got for others, which it drops."""
        self.keys = keys
        mine = keys | {EVERYBODY}
        lost = [key for key in (*self.trying, *self.calls) if key not in mine]
        self.trying = [key for key in self.trying if key in mine]
        self.calls = [key for key in self.calls if key in mine]
        return lost


class Turns:
    """Those who wait, by key, the longest waiting first."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[Turn, None]] = {}

    def join(self, keys: frozenset[str]) -> Turn:
        turn = Turn(keys)
        self._enter(turn)
        return turn

    def look(self, turn: Turn) -> None:
        """It asks the database now. It waits again already, behind the others: what begins to wait while it
        asks may be too young for its answer."""
        turn.take_calls()
        self._remove(turn)
        self._enter(turn)

    def change_keys(self, turn: Turn, keys: frozenset[str]) -> bool:
        """``turn`` waits for the runs of ``keys`` from now on; whether that is news: it looks again.
        Calls for what it waits for no more pass on to those who do."""
        if keys == turn.keys:
            return False
        self._remove(turn)
        lost = turn.change_keys(keys)
        self._enter(turn)
        for key in lost:
            self._call_one(key)
        return True

    def leave(self, turn: Turn) -> None:
        """No longer waiting. Calls that it did not use pass on."""
        self._remove(turn)
        for key in (*turn.trying, *turn.calls):
            self._call_one(key)

    def call(self, payload: str) -> None:
        key, _, count = payload.partition(" ")
        if key == EVERYBODY:
            self.call_all()
            return
        for _ in range(int(count) if count.isdigit() else 1):
            if not self._call_one(key):
                return

    def call_all(self) -> None:
        """Something may have been said unheard: everybody looks."""
        for turn in {turn for waiting in self._waiting.values() for turn in waiting}:
            turn.call(EVERYBODY)

    def _call_one(self, key: str) -> bool:
        for turn in self._waiting.get(key, ()):
            # Called once is enough, whatever it is for.
            self._remove(turn)
            turn.call(key)
            return True
        return False

    def _enter(self, turn: Turn) -> None:
        for key in turn.keys:
            self._waiting.setdefault(key, {})[turn] = None

    def _remove(self, turn: Turn) -> None:
        for key in turn.keys:
            waiting = self._waiting.get(key)
            if waiting is not None:
                waiting.pop(turn, None)
                if not waiting:
                    del self._waiting[key]
