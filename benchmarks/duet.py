"""Whether interleaving disturbs what it measures: each side of a duet against the same process alone.

A process of one model plays blocks alone, then interleaved with a process of the other model that is stopped
meanwhile, then alone again, all on the same processors; both models take both parts, with one thread and
with all. The calls of the two solos, pooled, are the reference. Goal (issue 3): the median within 2 %, p95
within 10 %. Exit code 1 where a goal is missed. On a device with other load, what is seen is the load. Needs
`edgeproof[onnxruntime]`.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from edgeproof.domain.measurement import percentile
from edgeproof.runtime import backends, environment
from edgeproof.runtime.child import Child, children
from edgeproof.runtime.host_lock import host_lock
from edgeproof.runtime.pairs import MODULE, Loaded, shared_processors
from edgeproof.runtime.rounds import Measured

DIGITS: Final = Path(__file__).parents[1] / "examples" / "digits"
MODELS: Final = (DIGITS / "digits.onnx", DIGITS / "digits-deeper.onnx")
TRIALS: Final = 8
BLOCKS: Final = 10
CALLS: Final = 30
SETTLE: Final = 3
GOALS: Final = {"median": (0.5, 0.02), "p95": (0.95, 0.10)}


class Player:
    """A measured process, stopped but for its own blocks."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.waits: list[float] = []

    async def load(self, model: Path, feed: Path, threads: int, turn: int) -> None:
        await self._child.ready()
        self._child.bind(shared_processors(turn, threads))
        await self._child.ask(
            "load", Loaded, artifact=str(model), threads=threads, feeds={"image": str(feed)},
            window=20, most_windows=12, tolerance_pct=5.0,
        )  # fmt: skip
        self._child.stop()

    async def block(self) -> list[int]:
        self._child.resume()
        block = await self._child.ask("block", Measured, settle=SETTLE, calls=CALLS)
        self._child.stop()
        self.waits.append(block.wait)
        return list(block.samples_ns)


async def trial(
    measured: Path, other: Path, feed: Path, threads: int, turn: int
) -> tuple[dict[str, float], float]:
    """Ratio interleaved / alone of each goal's percentile, and the median wait of the measured blocks."""
    reference, folder = backends.reference("onnxruntime"), feed.parent
    alone: list[int] = []
    interleaved: list[int] = []
    with children(lambda: Child(MODULE, reference, folder, "measured")) as (child,):
        player = Player(child)
        await player.load(measured, feed, threads, turn)
        for _ in range(BLOCKS):
            alone += await player.block()
        with children(lambda: Child(MODULE, reference, folder, "other")) as (second,):
            partner = Player(second)
            await partner.load(other, feed, threads, turn)
            for number in range(2 * BLOCKS):
                if number % 2:
                    await partner.block()
                    interleaved += await player.block()
                else:
                    interleaved += await player.block()
                    await partner.block()
        for _ in range(BLOCKS):
            alone += await player.block()
    ratios = {
        name: percentile(sorted(interleaved), fraction) / percentile(sorted(alone), fraction)
        for name, (fraction, _) in GOALS.items()
    }
    return ratios, median(player.waits)


async def main() -> int:
    missed = 0
    with tempfile.TemporaryDirectory() as folder, np.load(DIGITS / "test.npz") as data:
        feed = Path(folder) / "image.npy"
        np.save(feed, data["image"][:16, None])
        every = environment.physical_cores()
        print(f"{environment.cpu_model()}, {every} cores, {environment.utc_now()}, {TRIALS} trials a row")
        async with host_lock(on_wait=lambda: print("waiting for the device")):
            for threads in sorted({1, every}):
                for measured, other in (MODELS, MODELS[::-1]):
                    told = [await trial(measured, other, feed, threads, turn) for turn in range(TRIALS)]
                    waited = median(wait for _, wait in told)
                    words = [f"{measured.stem:13} threads {threads}"]
                    for name, (_, goal) in GOALS.items():
                        ratios = sorted(ratios[name] for ratios, _ in told)
                        held = abs(median(ratios) - 1) <= goal
                        missed += not held
                        words.append(
                            f"{name} {median(ratios):.4f} [{ratios[0]:.4f}, {ratios[-1]:.4f}] "
                            f"{'within' if held else 'BEYOND'} {100 * goal:.0f} %"
                        )
                    print("; ".join((*words, f"waited {100 * waited:.2g} % of the time")), flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
