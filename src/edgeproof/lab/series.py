"""What the report's charts show, from raw samples and outputs: distributions, time line, flips.

Numbers only, thinned for a page; how they look is ``charts``' affair. Nothing here is judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from edgeproof.contract.samples import Block, PairSamples, RawQuality, RawSamples, SideSamples
from edgeproof.domain.measurement import NS_PER_MS, counted
from edgeproof.domain.sides import SIDES, Side

_MOST_STEPS = 240
_WHOLE_TAIL = 24
_MOST_CLASSES = 12
_MOST_EXAMPLES = 12


@dataclass(frozen=True)
class Distribution:
    """Steps of an empirical distribution function: at ``ms[i]`` it rises to ``share[i]``, ending at 1."""

    side: Side
    ms: tuple[float, ...]
    share: tuple[float, ...]
    calls: int


@dataclass(frozen=True)
class BlockMark:
    """One block: when it began, in seconds since the first, and the median of its calls."""

    side: Side
    pair: int
    seconds: float
    median_ms: float
    load: float
    flags: tuple[str, ...]


@dataclass(frozen=True)
class TimeLine:
    """Every block with a call, in order of time; ``starts`` is when each process pair's first block began."""

    marks: tuple[BlockMark, ...]
    starts: tuple[float, ...]

    @property
    def flagged(self) -> tuple[tuple[str, int], ...]:
        """How many blocks bear each flag, most frequent first."""
        return tuple(Counter(flag for mark in self.marks for flag in mark.flags).most_common())

    @property
    def left_out(self) -> int:
        return sum(1 for mark in self.marks if mark.flags)

    @property
    def loads(self) -> tuple[float, float]:
        """Median and highest share of the machine's other processor time, over the counted blocks."""
        loads = [mark.load for mark in self.marks if not mark.flags] or [0.0]
        return median(loads), max(loads)


@dataclass(frozen=True)
class ClassFlips:
    """Samples of one class: how many, how many each side gets right, and which changed."""

    label: int
    samples: int
    baseline_right: int
    candidate_right: int
    lost: int
    gained: int


@dataclass(frozen=True)
class Example:
    """A sample that the baseline gets right and the candidate does not; ``index`` in the data set."""

    index: int
    label: int
    candidate: int


@dataclass(frozen=True)
class Flips:
    """Labelled samples by who gets them right; ``classes`` with a flip, most flips first."""

    both_right: int
    lost: int
    gained: int
    both_wrong: int
    classes: tuple[ClassFlips, ...]
    more_classes: int
    examples: tuple[Example, ...]


def distributions(samples: RawSamples) -> tuple[Distribution, ...]:
    """Of both sides' counted calls; a side without any is left out."""
    told = []
    for side in SIDES:
        ordered = sorted(call for pair in samples.pairs for call in counted(_of(pair, side)))
        if ordered:
            picked = _thinned(len(ordered))
            told.append(
                Distribution(
                    side=side,
                    ms=tuple(ordered[index] / NS_PER_MS for index in picked),
                    share=tuple((index + 1) / len(ordered) for index in picked),
                    calls=len(ordered),
                )
            )
    return tuple(told)


def time_line(samples: RawSamples) -> TimeLine:
    """All blocks, flagged ones too."""
    marks = [
        BlockMark(
            side=side,
            pair=pair.index,
            seconds=block.at_ns / 1e9,
            median_ms=median(block.samples_ns) / NS_PER_MS,
            load=block.load,
            flags=block.flags,
        )
        for pair in samples.pairs
        for side in SIDES
        for block in _of(pair, side).blocks
        if block.samples_ns
    ]
    return TimeLine(
        marks=tuple(sorted(marks, key=lambda mark: (mark.seconds, mark.side))),
        starts=tuple(min(block.at_ns for block in _blocks(pair)) / 1e9 for pair in samples.pairs),
    )


def flips(quality: RawQuality) -> Flips | None:
    """None without labels or without class scores."""
    before, after = quality.baseline.predictions, quality.candidate.predictions
    if quality.labels is None or before is None or after is None:
        return None
    rows = list(zip(quality.labels, before, after, strict=True))
    classes = sorted(
        (_class(label, rows) for label in sorted(set(quality.labels))),
        key=lambda one: (-(one.lost + one.gained), one.label),
    )
    changed = [one for one in classes if one.lost or one.gained]
    told = Counter((old == label, new == label) for label, old, new in rows)
    return Flips(
        both_right=told[True, True],
        lost=told[True, False],
        gained=told[False, True],
        both_wrong=told[False, False],
        classes=tuple(changed[:_MOST_CLASSES]),
        more_classes=max(len(changed) - _MOST_CLASSES, 0),
        examples=tuple(
            Example(index, label, new)
            for index, (label, old, new) in enumerate(rows)
            if old == label and new != label
        )[:_MOST_EXAMPLES],
    )


def _class(label: int, rows: Sequence[tuple[int, int, int]]) -> ClassFlips:
    rights = [(old == label, new == label) for true, old, new in rows if true == label]
    return ClassFlips(
        label=label,
        samples=len(rights),
        baseline_right=sum(old for old, _ in rights),
        candidate_right=sum(new for _, new in rights),
        lost=rights.count((True, False)),
        gained=rights.count((False, True)),
    )


def _of(pair: PairSamples, side: Side) -> SideSamples:
    return pair.baseline if side == "baseline" else pair.candidate


def _blocks(pair: PairSamples) -> list[Block]:
    return [*pair.baseline.blocks, *pair.candidate.blocks]


def _thinned(count: int) -> list[int]:
    """Indices into ``count`` ordered values: evenly spaced, and each of the slowest, where tails are read."""
    if count <= _MOST_STEPS:
        return list(range(count))
    body = count - _WHOLE_TAIL
    steps = _MOST_STEPS - _WHOLE_TAIL
    return [index * (body - 1) // (steps - 1) for index in range(steps)] + list(range(body, count))
