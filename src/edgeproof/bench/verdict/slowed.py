"""ONNX Runtime made slower by a known share: a spin inside the timed call, as long as that share of the call.

The spin follows each call's own time, so that every quantile is slower by exactly that share, whatever the
device does meanwhile. A share of 0 goes the same way, so that the wrapper itself makes no difference.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeproof.runtime.onnxruntime_cpu import OnnxRuntimeCpu
from edgeproof.runtime.port import Bound, Session

if TYPE_CHECKING:
    from numpy.typing import NDArray


def slowed(
    call: Callable[[], object], percent: float, clock: Callable[[], int] = time.perf_counter_ns
) -> Callable[[], None]:
    """``call``, followed by a spin of ``percent`` of the time it took."""
    factor = 1 + percent / 100

    def slow_call() -> None:
        started = clock()
        call()
        until = started + (clock() - started) * factor
        while clock() < until:
            pass

    return slow_call


class _SlowedBound:
    def __init__(self, bound: Bound, percent: float) -> None:
        self._bound = bound
        self._call = slowed(bound.call, percent)

    @property
    def call(self) -> Callable[[], object]:
        return self._call

    def outputs(self) -> list[NDArray[Any]]:
        return self._bound.outputs()


class _SlowedSession:
    def __init__(self, session: Session, percent: float) -> None:
        self._session = session
        self._percent = percent
        self.inputs = session.inputs
        self.outputs = session.outputs

    def bind(self, feed: Mapping[str, NDArray[Any]]) -> Bound:
        return _SlowedBound(self._session.bind(feed), self._percent)


class SlowedOnnxRuntime(OnnxRuntimeCpu):
    """A backend of the benchmark's own; no runner offers it."""

    def __init__(self, percent: float) -> None:
        self._percent = percent

    def load(self, artifact: Path, threads: int) -> Session:
        return _SlowedSession(super().load(artifact, threads), self._percent)


by_0: Final = partial(SlowedOnnxRuntime, 0)
by_2: Final = partial(SlowedOnnxRuntime, 2)
by_3: Final = partial(SlowedOnnxRuntime, 3)
by_5: Final = partial(SlowedOnnxRuntime, 5)


def reference(percent: int) -> str:
    """``module:attribute``, by which a measuring process finds its backend."""
    return f"{__name__}:by_{percent}"
