"""From traces to counts: what ``edgeproof bench verdict --json`` prints. One pass, in order of time."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from statistics import median, pstdev
from typing import Final

import msgspec
from scipy import stats

from edgeproof.bench.verdict import goals
from edgeproof.bench.verdict.goals import ROWS, Row, Status
from edgeproof.bench.verdict.reviews import ROW as REVIEWED
from edgeproof.bench.verdict.reviews import Played, Reviews
from edgeproof.bench.verdict.rotation import pair_of
from edgeproof.bench.verdict.sequential import RULES, is_sequential
from edgeproof.bench.verdict.traces import Condition, Record, Rotation, Session, TimedDuet, unlike
from edgeproof.bench.verdict.trials import Trials, Verdict, policy_at
from edgeproof.bench.verdict.variants import BASELINE, TWIN, reference_of, slowdown_of, slowed_by
from edgeproof.contract.canonical import round6
from edgeproof.contract.errors import Refused
from edgeproof.contract.results import SystemInfo
from edgeproof.lab.gates import pair_values
from edgeproof.lab.noise import DRAWS

CONFIDENCE: Final = 0.95
OUTLYING_PCT: Final = 3.0
QUIET_WAIT: Final = 0.01
"""Blocks that wait longer than this share of their time have company."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """``count`` of ``of``, with its exact (Clopper-Pearson) 95 % interval as fractions."""

    count: int
    of: int
    low: float
    high: float


class GoalCount(msgspec.Struct, frozen=True, kw_only=True):
    """``found`` is what the goal counts, among the trials that count for it: the first of the row."""

    goal: str
    status: Status
    found: Share


class RowCount(msgspec.Struct, frozen=True, kw_only=True):
    """All trials of a row; goals are judged on the first of them. ``no_regression`` holds ``improved``."""

    slowdown_pct: float
    margin_pct: float
    condition: Condition
    trials: int
    no_regression: Share
    improved: Share
    regression: Share
    inconclusive: Share
    by_model: dict[str, dict[str, int]]
    goals: tuple[GoalCount, ...]


class RuleCount(msgspec.Struct, frozen=True, kw_only=True):
    """How often a sequential rule called the candidate a regression."""

    rule: str
    slowdown_pct: float
    condition: Condition
    alarms: Share


class ReviewCount(msgspec.Struct, frozen=True, kw_only=True):
    """Of the twin's trials at 3 %, quiet, that passed: how many go to review for something else than latency.

    ``one_draw`` and ``three_draws``: for a noise floor of so many draws, among the trials that have three
    before them. ``unsettled``: for a warm-up that never came to rest. ``model`` None: all.
    """

    model: str | None
    one_draw: Share
    three_draws: Share
    unsettled: Share


class TimeCount(msgspec.Struct, frozen=True, kw_only=True):
    """Whole duets of models of 5 ms or less, quiet. Seconds are None without any. ``inconclusive`` of them
    came to the last look without a verdict, and count with the time that took.

    ``low_seconds`` and ``high_seconds`` are the 95 % interval of the median by order statistics, None for
    fewer than 6 duets. ``by_model`` are each model's duets and their median.
    """

    duets: int
    inconclusive: int
    by_model: dict[str, tuple[int, float]]
    median_seconds: float | None
    low_seconds: float | None
    high_seconds: float | None
    longest_seconds: float | None
    median_pairs: float | None
    status: Status


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Over process pairs, of the median's ratio: its median, and the standard deviation of its log.

    ``typical_pct`` is the spread without the outliers: 1.4826 times the median distance of the log from its
    median, which is the standard deviation where there are none. ``outlying`` are the pairs that are off
    the median by more than ``OUTLYING_PCT``.
    """

    model: str
    condition: Condition
    slowdown_pct: float
    pairs: int
    median_ratio: float
    spread_pct: float
    typical_pct: float
    outlying: int


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What was played under one condition.

    ``wait`` is the median share of a block's time in a run queue, ``disturbed`` the share of rotations in
    whose median it was more than ``QUIET_WAIT``; ``contaminated`` the share of blocks and
    ``unsettled`` that of processes whose warm-up never came to rest.
    """

    condition: Condition
    rotations: dict[str, int]
    latency_ms: dict[str, float]
    minutes: float
    wait: float
    disturbed: float
    contaminated: float
    unsettled: float


class SessionTold(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the recorder, and how busy the machine was when it began."""

    at: str
    condition: Condition
    load_1m: float
    versions: dict[str, str]


class VerdictQuality(msgspec.Struct, frozen=True, kw_only=True):
    """``edgeproof-verdict-quality-v1``."""

    schema_version: str
    system: SystemInfo
    processors: int
    threads: int
    sessions: tuple[SessionTold, ...]
    first_at: str
    last_at: str
    recorded: tuple[Recorded, ...]
    rows: tuple[RowCount, ...]
    reviews: tuple[ReviewCount, ...]
    sequential: tuple[RuleCount, ...]
    time: TimeCount
    spreads: tuple[Spread, ...]


def share(count: int, of: int) -> Share:
    """Without trials anything is possible."""
    if of == 0:
        return Share(count=0, of=0, low=0.0, high=1.0)
    told = stats.binomtest(count, of).proportion_ci(CONFIDENCE, method="exact")
    return Share(count=count, of=of, low=round6(float(told.low)), high=round6(float(told.high)))


@dataclass
class _RowTrials:
    """The trials of a row, as they were completed: each model's and variant's from a stream of their own."""

    row: Row
    streams: dict[tuple[str, str], Trials] = field(default_factory=dict)
    told: list[tuple[str, Verdict]] = field(default_factory=list)

    def add(self, rotation: Rotation) -> None:
        if rotation.condition != self.row.condition:
            return
        for variant in slowed_by(self.row.slowdown, rotation.sides):
            stream = self.streams.setdefault((rotation.model, variant), Trials(policy_at(self.row.margin)))
            verdict = stream.add(pair_of(rotation.order, rotation.sides, variant, rotation.index))
            if verdict is not None:
                self.told.append((rotation.model, verdict))

    def counted(self) -> RowCount:
        verdicts = [verdict for _, verdict in self.told]
        found, of = Counter(verdicts), len(verdicts)
        by_model: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for model, verdict in self.told:
            by_model[model][verdict] += 1
        return RowCount(
            slowdown_pct=self.row.slowdown,
            margin_pct=self.row.margin,
            condition=self.row.condition,
            trials=of,
            no_regression=share(found["no_regression"] + found["improved"], of),
            improved=share(found["improved"], of),
            regression=share(found["regression"], of),
            inconclusive=share(found["inconclusive"], of),
            by_model={model: dict(counts) for model, counts in by_model.items()},
            goals=tuple(
                GoalCount(
                    goal=goal.words(),
                    status=goal.status(verdicts),
                    found=share(goal.found(verdicts), min(of, goal.of)),
                )
                for goal in self.row.goals
            ),
        )


@dataclass
class _ReviewTrials:
    """The same trials as the row's, each model's from a stream of its own."""

    models: dict[str, Reviews] = field(default_factory=dict)

    def add(self, rotation: Rotation) -> None:
        if rotation.condition == REVIEWED.condition and TWIN in rotation.sides:
            pair = pair_of(rotation.order, rotation.sides, TWIN, rotation.index)
            self.models.setdefault(rotation.model, Reviews()).add(Played(rotation.at, pair))

    def counted(self) -> Iterator[ReviewCount]:
        told = {model: reviews.told for model, reviews in self.models.items()}
        for model, trials in (*told.items(), (None, [*chain.from_iterable(told.values())])):
            drawn = [trial.after for trial in trials if DRAWS in trial.after]
            yield ReviewCount(
                model=model,
                one_draw=share(sum(after[1] for after in drawn), len(drawn)),
                three_draws=share(sum(after[DRAWS] for after in drawn), len(drawn)),
                unsettled=share(sum(trial.unsettled for trial in trials), len(trials)),
            )


@dataclass
class _Condition:
    """What was seen under one condition, apart from verdicts."""

    rotations: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)
    blocks: int = 0
    flagged: int = 0
    processes: int = 0
    unsettled: int = 0
    latencies: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    ratios: defaultdict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    alarms: Counter[tuple[str, int]] = field(default_factory=Counter)
    traces: Counter[int] = field(default_factory=Counter)

    def add(self, rotation: Rotation) -> None:
        self.rotations[rotation.model] += 1
        self.seconds += rotation.seconds
        blocks = [block for side in rotation.sides.values() for block in side.blocks]
        clean = [block.wait for block in blocks if not block.flags]
        self.processes += len(rotation.sides)
        self.unsettled += sum(not side.settled for side in rotation.sides.values())
        self.blocks += len(blocks)
        self.flagged += len(blocks) - len(clean)
        if clean:
            self.waits.append(median(clean))
        for variant in rotation.sides:
            if variant != BASELINE:
                self._compare(rotation, variant)

    def _compare(self, rotation: Rotation, variant: str) -> None:
        slowdown = slowdown_of(variant)
        pair = pair_of(rotation.order, rotation.sides, variant, rotation.index)
        for value in pair_values([pair], "p50"):
            self.ratios[rotation.model, slowdown].append(value.log_ratio)
            self.latencies[rotation.model].append(value.baseline / 1e6)
        if not rotation.sequential or not is_sequential(rotation.index):
            return
        one, other = rotation.sequential[reference_of(variant)], rotation.sequential[variant]
        for before, after in ((one.before, other.before), (one.after, other.after)):
            self.traces[slowdown] += 1
            for name, rule in RULES.items():
                self.alarms[name, slowdown] += rule(before, after)

    def recorded(self, condition: Condition) -> Recorded:
        return Recorded(
            condition=condition,
            rotations=dict(self.rotations),
            latency_ms={model: round6(median(values)) for model, values in self.latencies.items()},
            minutes=round(self.seconds / 60, 1),
            wait=round6(median(self.waits)) if self.waits else 0.0,
            disturbed=round6(sum(one > QUIET_WAIT for one in self.waits) / max(len(self.waits), 1)),
            contaminated=round6(self.flagged / self.blocks) if self.blocks else 0.0,
            unsettled=round6(self.unsettled / self.processes) if self.processes else 0.0,
        )

    def spreads(self, condition: Condition) -> Iterator[Spread]:
        for (model, slowdown), ratios in self.ratios.items():
            middle = median(ratios)
            off = [abs(ratio - middle) for ratio in ratios]
            yield Spread(
                model=model,
                condition=condition,
                slowdown_pct=slowdown,
                pairs=len(ratios),
                median_ratio=round6(math.exp(middle)),
                spread_pct=round6(100 * pstdev(ratios)),
                typical_pct=round6(100 * 1.4826 * median(off)),
                outlying=sum(one > math.log(1 + OUTLYING_PCT / 100) for one in off),
            )

    def rules(self, condition: Condition) -> Iterator[RuleCount]:
        for name in RULES:
            for slowdown in sorted(self.traces):
                yield RuleCount(
                    rule=name,
                    slowdown_pct=slowdown,
                    condition=condition,
                    alarms=share(self.alarms[name, slowdown], self.traces[slowdown]),
                )


def count(records: Iterable[Record]) -> VerdictQuality:
    """Raises ``Refused`` (``result_invalid``) for traces without a session, or of more than one machine,
    engine or plan."""
    rows = [_RowTrials(row) for row in ROWS]
    reviews = _ReviewTrials()
    conditions: dict[Condition, _Condition] = {}
    sessions: list[Session] = []
    first_at = last_at = ""
    duets: list[TimedDuet] = []
    for record in records:
        last_at = record.at
        if isinstance(record, Session):
            if differences := unlike((sessions or [record])[0], record):
                raise Refused(
                    "result_invalid",
                    f"the traces are of more than one machine, engine or plan: {'; '.join(differences)}",
                )
            sessions.append(record)
            first_at = first_at or record.at
        elif isinstance(record, TimedDuet):
            duets.append(record)
        else:
            conditions.setdefault(record.condition, _Condition()).add(record)
            reviews.add(record)
            for row in rows:
                row.add(record)
    if not sessions:
        raise Refused("result_invalid", "the traces do not say of what machine they are")
    session = sessions[0]
    seen = sorted(conditions.items(), reverse=True)
    return VerdictQuality(
        schema_version="edgeproof-verdict-quality-v1",
        system=session.system,
        processors=session.processors,
        threads=session.threads,
        sessions=tuple(
            SessionTold(at=one.at, condition=one.condition, load_1m=one.load_1m, versions=one.versions)
            for one in sessions
        ),
        first_at=first_at,
        last_at=last_at,
        recorded=tuple(one.recorded(condition) for condition, one in seen),
        rows=tuple(row.counted() for row in rows),
        reviews=tuple(reviews.counted()),
        sequential=tuple(rule for condition, one in seen for rule in one.rules(condition)),
        time=_times(duets),
        spreads=tuple(spread for condition, one in seen for spread in one.spreads(condition)),
    )


def _times(duets: Iterable[TimedDuet]) -> TimeCount:
    counted = [one for one in duets if one.condition == "quiet" and one.model in goals.TIMED_MODELS]
    if not counted:
        return TimeCount(
            duets=0, inconclusive=0, by_model={}, median_seconds=None, low_seconds=None, high_seconds=None,
            longest_seconds=None, median_pairs=None, status="too few",
        )  # fmt: skip
    seconds = sorted(one.seconds for one in counted)
    status: Status = "met" if median(seconds) <= goals.MEDIAN_SECONDS else "missed"
    # How many of the shortest lie surely below the true median, and as many of the longest above it.
    beyond = int(stats.binom.ppf((1 - CONFIDENCE) / 2, len(seconds), 0.5))
    return TimeCount(
        duets=len(counted),
        inconclusive=sum(one.verdict == "inconclusive" for one in counted),
        by_model={
            model: (len(taken), round6(median(taken)))
            for model in goals.TIMED_MODELS
            if (taken := [one.seconds for one in counted if one.model == model])
        },
        median_seconds=round6(median(seconds)),
        low_seconds=round6(seconds[beyond - 1]) if beyond else None,
        high_seconds=round6(seconds[-beyond]) if beyond else None,
        longest_seconds=round6(seconds[-1]),
        median_pairs=median(one.pairs for one in counted),
        status=status if len(counted) >= goals.FEWEST_DUETS else "too few",
    )
