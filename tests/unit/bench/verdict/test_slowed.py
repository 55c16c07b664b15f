from __future__ import annotations

import pytest

from edgeproof.bench.verdict import slowed
from edgeproof.runtime.port import Backend


class Clock:
    """Advances by one nanosecond with each reading, and by what a call takes."""

    def __init__(self, taken: int) -> None:
        self.now = 0
        self._taken = taken

    def __call__(self) -> int:
        self.now += 1
        return self.now

    def call(self) -> None:
        self.now += self._taken


@pytest.mark.parametrize("percent", [0, 2, 3, 5])
@pytest.mark.parametrize("taken", [10_000, 1_000_000])
def test_a_call_takes_its_share_longer(percent: int, taken: int) -> None:
    clock = Clock(taken)
    slowed.slowed(clock.call, percent, clock)()
    assert 0 <= clock.now - taken * (1 + percent / 100) < 10


@pytest.mark.parametrize("percent", [0, 2, 3, 5])
def test_a_measuring_process_finds_it_by_its_reference(percent: int) -> None:
    module, _, attribute = slowed.reference(percent).partition(":")
    assert module == slowed.__name__
    made: Backend = getattr(slowed, attribute)()
    assert made.name == "onnxruntime"
