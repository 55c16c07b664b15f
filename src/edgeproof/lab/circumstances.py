"""Under what load and in what state the samples were taken: told beside the estimate, never part of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final, NamedTuple

from edgeproof.contract.canonical import round6
from edgeproof.contract.samples import PairSamples
from edgeproof.contract.statements import EnvironmentSnapshot
from edgeproof.domain.device_state import clocks

_WORTH_TELLING = 0.005
UNSEEN_LOAD: Final = (
    "this device does not tell how long blocks waited for a processor: "
    "neither a background load nor one on a single side could be seen"
)


class Conditions(NamedTuple):
    """``background`` as in ``Comparison``, 0 where the device does not tell; ``blocks`` are all that were
    played, ``contaminated`` of them."""

    background: float
    blocks: int
    contaminated: int
    unstable_pairs: tuple[int, ...]

    def words(self) -> Iterator[str]:
        """Sentences for people; none where all was quiet."""
        if self.unstable_pairs:
            named = ", ".join(map(str, self.unstable_pairs))
            yield f"the warm-up of process pair {named} never came to rest"
        if self.contaminated:
            yield (
                f"{self.contaminated} of {self.blocks} blocks were contaminated: "
                "kept in the raw data, not in the estimate"
            )
        if self.background >= _WORTH_TELLING:
            yield (
                f"background load on both sides: blocks waited {100 * self.background:.2g} % of their time "
                "for a processor"
            )


def changed_conditions(before: EnvironmentSnapshot, after: EnvironmentSnapshot) -> tuple[str, ...]:
    """What of the device is not, after the measurement, what it was before: it bore on both sides, but not
    on every process pair alike."""
    told = [
        ("governor", before.governor, after.governor),
        ("power mode", before.power_mode, after.power_mode),
        ("max clocks", clocks(before.max_frequency_mhz), clocks(after.max_frequency_mhz)),
    ]
    told += [
        (name, before.versions.get(name), after.versions.get(name))
        for name in sorted({*before.versions, *after.versions})
    ]
    throttled = (before.throttle_count, after.throttle_count)
    if throttled[0] is not None and throttled[1] is not None and throttled[0] < throttled[1]:
        told.append(("throttling events", str(throttled[0]), str(throttled[1])))
    return tuple(
        f"{name} {was or 'not told'} before, {now or 'not told'} after"
        for name, was, now in told
        if was != now
    )


def measured_under(pairs: Sequence[PairSamples]) -> Conditions:
    """The background is that of the busiest processors that pairs ran on: the others are no witness."""
    blocks = 0
    waits: defaultdict[tuple[int, ...], list[float]] = defaultdict(list)
    for pair in pairs:
        played = (*pair.baseline.blocks, *pair.candidate.blocks)
        blocks += len(played)
        waits[pair.processors] += [block.wait for block in played if not block.flags]
    return Conditions(
        background=round6(max((median(some) for some in waits.values() if some), default=0.0)),
        blocks=blocks,
        contaminated=blocks - sum(map(len, waits.values())),
        unstable_pairs=tuple(
            pair.index for pair in pairs if not (pair.baseline.settled and pair.candidate.settled)
        ),
    )
