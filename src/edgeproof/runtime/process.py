"""The measured process: one model, one side of a pair. ``python -m edgeproof.runtime.process``.

It imports the standard library, NumPy, the engine and what of ours needs no more than that. What is timed
is the bare ``Bound.call`` between two readings of ``perf_counter_ns``; outputs are looked at after a block,
never within one.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeproof.domain import warmup
from edgeproof.runtime import counters
from edgeproof.runtime.channel import Channel, Handler
from edgeproof.runtime.port import Backend, Bound, ModelRefused


def timed(calls: Sequence[Callable[[], object]]) -> list[int]:
    """Nanoseconds of each call."""
    clock = time.perf_counter_ns
    taken = [0] * len(calls)
    for index, call in enumerate(calls):
        started = clock()
        call()
        taken[index] = clock() - started
    return taken


def demand_finite(bound: Bound) -> None:
    """Raises ``ModelRefused`` when the latest outputs hold NaN or infinity."""
    for output in bound.outputs():
        if output.dtype.kind == "f" and not np.isfinite(output).all():
            raise ModelRefused("model_output_not_finite", "an output on the timed inputs is not finite")


class MeasuredModel:
    """Loads once, then runs blocks; calls cycle through the feeds, on both sides in the same order."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._bound: list[Bound] = []
        self._next = 0

    def load(
        self,
        *,
        artifact: str,
        threads: int,
        feeds: Mapping[str, str],
        window: int,
        most_windows: int,
        tolerance_pct: float,
    ) -> Mapping[str, Any]:
        """``feeds``: per input, an ``.npy`` file of shape [feeds, *input shape]; the rest as ``warmup``'s."""
        arrays = {name: np.load(path, allow_pickle=False) for name, path in feeds.items()}
        started = time.perf_counter_ns()
        session = self._backend.load(Path(artifact), threads)
        load_ns = time.perf_counter_ns() - started
        count = min(len(array) for array in arrays.values())
        self._bound = [
            session.bind({name: np.array(array[index], order="C") for name, array in arrays.items()})
            for index in range(count)
        ]
        gc.collect()
        gc.disable()
        first = self._run(1)
        taken: list[int] = []
        while not warmup.finished(taken, window, tolerance_pct, most_windows):
            taken += self._run(window)
        return {
            "load_ns": load_ns,
            "first_ns": first[0],
            "warmup_ns": taken,
            "settled": warmup.settled(taken, window, tolerance_pct),
        }

    def block(self, *, settle: int, calls: int) -> Mapping[str, Any]:
        """``settle`` uncounted calls, then ``calls`` counted ones; load, wait and flags cover both."""
        before, own, started = counters.read(), time.process_time_ns(), time.perf_counter_ns()
        queued = counters.queued_ns()
        taken = self._run(settle + calls)
        waited = counters.queued_ns()
        wall, own, after = time.perf_counter_ns() - started, time.process_time_ns() - own, counters.read()
        processors = os.cpu_count() or 1
        return {
            "started_ns": started,
            "settle_ns": taken[:settle],
            "samples_ns": taken[settle:],
            "load": counters.other_load(before, after, own_ns=own, wall_ns=wall, processors=processors),
            "wait": counters.wait(queued, waited, wall_ns=wall),
            "flags": counters.flags(before, after),
            "peak_rss_bytes": counters.peak_rss_bytes(),
        }

    def _run(self, count: int) -> list[int]:
        turn = [self._bound[(self._next + index) % len(self._bound)] for index in range(count)]
        self._next += count
        taken = timed([bound.call for bound in turn])
        for bound in self._bound[: self._next]:
            demand_finite(bound)
        return taken


def handlers(backend: Backend) -> Mapping[str, Handler]:
    model = MeasuredModel(backend)
    return {"load": model.load, "block": model.block}


if __name__ == "__main__":
    Channel(sys.argv[1:]).serve(handlers)
