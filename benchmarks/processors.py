"""What it is worth that both sides of a pair run on the same processors and are compared round by round.

Fresh processes of one model and its twin, whose true ratio is 1, are played by the runner's protocol: by
turns bound to the same processors, and free to run where the scheduler puts them. Printed is how far single
pairs are off, by the ratio of both sides' medians and by the median of the rounds' ratios. Where processors
are equally fast all the time there is little to see. Needs `edgeproof[bench]`.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import pstdev
from typing import Final

from edgeproof.bench.verdict import models, slowed
from edgeproof.bench.verdict.rotation import RotationStage, Variant, pair_of, play
from edgeproof.bench.verdict.trials import plan_of
from edgeproof.bench.verdict.variants import BASELINE, TWIN
from edgeproof.lab.gates import pair_values
from edgeproof.lab.policies import default_policy
from edgeproof.runtime.host_lock import host_lock

OFF_PCT: Final = 3.0
WAYS: Final = {True: "same processors", False: "free"}


async def measure(model: models.Model, pairs: int) -> dict[tuple[bool, str], list[float]]:
    """Log ratios by whether bound, and by estimate."""
    found: defaultdict[tuple[bool, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        artifact = models.write(model, folder / "model.onnx")
        feed = models.write_feed(model, folder / "x.npy")
        variants = tuple(Variant(one, slowed.reference(0), artifact) for one in (BASELINE, TWIN))
        for index in range(2 * pairs):
            bound = index // 2 % 2 == 0
            stage = RotationStage(variants, feed, folder, 1, plan_of(default_policy()), same_processors=bound)
            async with host_lock(on_wait=lambda: None):
                # Two pairs bound, two free: each kind has both orders, and its processors' turns.
                played = await play(stage, index // 4 * 2 + index % 2, calls=0, sequential=False)
            for value in pair_values([pair_of(played.order, played.sides, TWIN, index)], "p50"):
                found[bound, "of medians"].append(math.log(value.candidate / value.baseline))
                found[bound, "by rounds"].append(value.log_ratio)
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--pairs", type=int, default=60, help="pairs of each kind and model")
    pairs = arguments.parse_args().pairs
    print(f"{os.cpu_count()} processors, load before {os.getloadavg()[0]:.2f}; 1 thread a process")
    for model in models.MODELS[:2]:
        found = asyncio.run(measure(model, pairs))
        plain = pstdev(found[False, "of medians"])
        for (bound, estimate), ratios in sorted(found.items()):
            off = sum(abs(one) > math.log(1 + OFF_PCT / 100) for one in ratios)
            print(
                f"{model.name:>7}  {WAYS[bound]:<16} ratio {estimate:<10} {len(ratios)} pairs:"
                f" off by more than {OFF_PCT:g} %: {off}, spread {100 * pstdev(ratios):.2f} %"
                f" ({pstdev(ratios) / plain:.2f} of free, of medians)"
            )


if __name__ == "__main__":
    main()
