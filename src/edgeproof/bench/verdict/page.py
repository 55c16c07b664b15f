"""The counts as people read them: ``docs/verdict-quality.md``, and its goal table alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from edgeproof.bench.verdict.counts import (
    OUTLYING_PCT,
    QUIET_WAIT,
    GoalCount,
    RowCount,
    Share,
    TimeCount,
    VerdictQuality,
)
from edgeproof.bench.verdict.goals import FEWEST_DUETS, MEDIAN_SECONDS
from edgeproof.bench.verdict.traces import Condition

_ABOUT: Final = """\
Made by `edgeproof bench verdict --judge TRACES --markdown`; not edited by hand.

What is counted is the verdict on latency, all gates together: `no_regression` (every interval up to its
margin; `improved` is one of them), `regression` (an interval wholly beyond its margin), or `inconclusive`
(still neither at the last look: a person is asked). What else can send a job to review is not in these
counts. How often a noise floor or a warm-up that never settled does it to an equal candidate is told in a
table of its own; of the guard and of accuracy there is none.

Models of about 0.5, 5 and 30 ms are chains of equal convolutions. In one rotation fresh processes of the
baseline, its twin and variants slowed by 2, 3 and 5 % play interleaved on the same processors (under load:
baseline and twin, on those that are free). Each variant's pairs with the baseline are judged by the code that
judges jobs, under the default policy (looks at 8, 12 and 16 pairs) with the row's margin for the median; the
p90 gate keeps its 5 %. A round is played again unless the blocks of all its sides bore the load of the
quietest, where a job's has two sides to agree: these pairs are somewhat cleaner than a job's. Two variants
are slowed by 3 %, the second of which makes its pairs with the twin: trials on their margin take all 16
pairs, twice as many as most. A slowdown is a spin of exactly that share of
each call. The 5 % of the 5 ms model is a heavier model instead: one layer more than 20, of which the first is
lighter, so it is about 5 %; what it truly costs is its median ratio in the table of spreads. The policy's
confidence of 95 % is shared by all looks and gates: each interval is one of 99.17 %.

Brackets are exact (Clopper-Pearson) 95 % intervals of a share. They take the trials of a row for independent:
no two of them share a process, but they share one machine and its days, rows share their baselines and twins,
and the 3 % row has two trials from each of its rotations: its interval is somewhat too narrow. How the traces
are recorded, and which were given up, tells [ADR 13](adr/0013-verdict-benchmark.md).
Trials of the three models count alike, as many as there are; the next table tells them apart. A goal is
judged on the first trials of its row in order of time, so many as it names, and beside it stands what was
found in them; the other columns count every trial. `too few trials` says that the goal is neither met nor
missed yet; the interval beside it says what is known so far. `missed` is said as soon as no further trial
can mend it, `met` only when all were played: when the recording stops favours neither. A goal is a count and
no proof: 0 of 300 leaves a rate of up to 1.2 % open.

The time to a verdict is that of the measurement: builds, transfers and the measuring of a
noise floor that the runner does not remember yet (up to as long again) are not in it. The candidates are by
turns the twin and the heavier model; near a margin it takes twice as long. Its median has an interval of 95 %
too, by order statistics.
"""
_REVIEWS: Final = """\
Of the trials above of 0 % against 3 %, quiet, that passed: how many the default policy sends to review all
the same, with no goal attached. A warm-up does it if a process of one of the trial's pairs never came to
rest. A noise floor does it unless the verdict stands clear of its margin by more than the floor. The floor is
the lab's own, drawn as a runner draws it, from 8 pairs of the model against itself: here from the twin's
pairs, 8 by 8 in order of time, all played before the trial. The k-th trial of a model goes by its draws
before the k-th, so that none is chosen for what it shows. Once it is a single draw, as a first job under
new conditions has it, once the median of three in a row, taken together as a runner takes them (of the last
day, under like load). A model's first three trials, which have no three draws before them, are left out of
both. Pairs serve a trial and the floors of later ones, so the trials are not quite independent here.
"""
_SEQUENTIAL: Final = """\
In every seventh rotation each process ran 50 calls in one go (after 5 to warm up), one process after the
other in an order that turns, before and after the interleaved blocks. How often each rule calls the
candidate a regression: at 0 % every time is a false alarm.
The two runs of a process are not independent, so these intervals are too narrow.
"""
_AGAIN: Final = """\
On a machine with nothing else to do, as often as it takes; every call adds a session to the file:

    pip install 'edgeproof[bench]'
    edgeproof bench verdict --traces verdict-traces.jsonl --resume --minutes 600
    edgeproof bench verdict --traces verdict-traces.jsonl --resume --minutes 120 --load
    edgeproof bench verdict --judge verdict-traces.jsonl --markdown > docs/verdict-quality.md

`--quick` records for 8 minutes and fills no row. `--json` prints these counts. Judging executes nothing: the
same traces give the same page, under tomorrow's rules another one.
"""
_COLUMNS: Final = (("no_regression", "improved"), ("regression",), ("inconclusive",))
_MARKS: Final = {"met": "met", "missed": "**missed**", "too few": "too few trials"}


def summary(told: VerdictQuality) -> str:
    """The goal table."""
    return "\n".join(_goals(told)) + "\n"


def page(told: VerdictQuality) -> str:
    """The whole page, in Markdown."""
    parts = (
        _head(told),
        ["## Goals", "", *_goals(told), "", *_claims(told), "", *_goal_words(told)],
        ["## By model", "", *_by_model(told)],
        ["## What else asks a person", "", *_reviews(told)],
        ["## Rules on sequential traces", "", *_sequential(told)],
        ["## What was played", "", *_recorded(told)],
        ["## Spread between process pairs", "", *_spreads(told)],
        ["## Sessions", "", *_sessions(told)],
        ["## How to do it again", "", *_AGAIN.splitlines()],
    )
    return "\n\n".join("\n".join(lines).rstrip() for lines in parts) + "\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    names = list(head)
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _percent(share: Share) -> str:
    """``3 of 40 (1.6-20.4 %)``, or a dash where nothing was counted."""
    if share.of == 0:
        return "-"
    return f"{share.count} of {share.of} ({100 * share.low:.1f}-{100 * share.high:.1f} %)"


def _head(told: VerdictQuality) -> list[str]:
    system = told.system
    memory = f"{system.memory_bytes / (1 << 30):.1f} GiB of memory"
    machine = f"{system.cpu_model}, {told.processors} processors, {memory}, {system.os}, {system.machine}"
    recorded = ", ".join(
        f"{one.minutes:g} minutes of rotations, {_condition(one.condition)}" for one in told.recorded
    )
    return [
        "# How often the verdict is wrong",
        "",
        f"Real executions on one machine: {machine}, Python {system.python}; {told.threads} thread a model. "
        f"Recorded from {told.first_at} to {told.last_at}: {recorded or 'nothing yet'}.",
        "",
        *_ABOUT.splitlines(),
    ]


def _goals(told: VerdictQuality) -> Iterator[str]:
    head = ("true slowdown, margin", "trials", "no_regression", "regression", "inconclusive", "goal")
    yield from _table(head, (*map(_row, told.rows), _time(told.time)))


def _row(row: RowCount) -> tuple[str, ...]:
    return (
        _case(row),
        str(row.trials),
        _percent(row.no_regression),
        _percent(row.regression),
        _percent(row.inconclusive),
        "; ".join(map(_goal, row.goals)),
    )


def _case(row: RowCount) -> str:
    return f"{row.slowdown_pct:g} %, {row.margin_pct:g} %, {_condition(row.condition)}"


def _condition(condition: Condition) -> str:
    return "quiet" if condition == "quiet" else "load on the other core"


def _by_model(told: VerdictQuality) -> Iterator[str]:
    rows = [
        (
            _case(row),
            model,
            str(sum(counts.values())),
            *(str(sum(counts.get(name, 0) for name in names)) for names in _COLUMNS),
        )
        for row in told.rows
        for model, counts in row.by_model.items()
    ]
    head = ("true slowdown, margin", "model", "trials", "no_regression", "regression", "inconclusive")
    yield from _table(head, rows)


def _reviews(told: VerdictQuality) -> Iterator[str]:
    yield from _REVIEWS.splitlines()
    yield ""
    rows = [
        (one.model or "all", _percent(one.one_draw), _percent(one.three_draws), _percent(one.unsettled))
        for one in told.reviews
    ]
    yield from _table(("model", "floor of one draw", "floor of three draws", "unsettled warm-up"), rows)


def _claims(told: VerdictQuality) -> Iterator[str]:
    """An improvement of a model over itself is a false claim too, though no goal counts it."""
    for row in told.rows:
        if row.slowdown_pct == 0 and row.trials:
            yield (
                f"- At 0 % against {row.margin_pct:g} %, {row.condition}, the twin was called an improvement "
                f"in {_percent(row.improved)}."
            )


def _goal(goal: GoalCount) -> str:
    if goal.found.of == 0:
        return f"{goal.goal}: no trial yet"
    so_far = " so far" if goal.status == "too few" else ""
    return f"{goal.goal}: {_MARKS[goal.status]}, {_percent(goal.found)}{so_far}"


def _time(time: TimeCount) -> tuple[str, ...]:
    seen = "-" if time.median_seconds is None else f"median {time.median_seconds:.3g} s"
    if time.low_seconds is not None and time.high_seconds is not None:
        seen += f" ({time.low_seconds:.3g}-{time.high_seconds:.3g} s)"
    longest = "" if time.longest_seconds is None else f", longest {time.longest_seconds:.3g} s"
    goal = f"median at most {MEDIAN_SECONDS:g} s of {FEWEST_DUETS} or more: {_MARKS[time.status]}"
    open_ = f", {time.inconclusive} of them inconclusive" if time.inconclusive else ""
    models = "".join(f"; {model}: {taken:.3g} s of {of}" for model, (of, taken) in time.by_model.items())
    return (
        "time to a verdict, model of 5 ms or less, quiet",
        f"{time.duets}{open_}",
        seen + longest + models,
        "",
        "",
        goal,
    )


def _goal_words(told: VerdictQuality) -> list[str]:
    """Which goals are missed, and which cannot be told yet, each said plainly."""
    stated = [(f"{_case(row)}: {_goal(goal)}", goal.status) for row in told.rows for goal in row.goals]
    stated.append((f"the time to a verdict, of {told.time.duets} measurements", told.time.status))
    lines: list[str] = []
    for status, words in (
        ("missed", "**Goals missed:**"),
        ("too few", "Not missed so far, but with too few trials to be called met:"),
    ):
        found = [name for name, one in stated if one == status]
        if found:
            lines += [words, "", *(f"- {name}" for name in found), ""]
    return lines or ["All goals are met."]


def _sequential(told: VerdictQuality) -> Iterator[str]:
    yield from _SEQUENTIAL.splitlines()
    yield ""
    slowdowns = sorted({rule.slowdown_pct for rule in told.sequential})
    cells = {(rule.condition, rule.rule, rule.slowdown_pct): rule.alarms for rule in told.sequential}
    rows = [
        (condition, rule, *(_percent(cells[key]) if (key := (condition, rule, one)) in cells else "-"
                            for one in slowdowns))
        for condition, rule in dict.fromkeys((rule.condition, rule.rule) for rule in told.sequential)
    ]  # fmt: skip
    yield from _table(("condition", "rule", *(f"truly {one:g} % slower" for one in slowdowns)), rows)


def _recorded(told: VerdictQuality) -> Iterator[str]:
    head = (
        "condition",
        "model",
        "rotations",
        "median call",
        "minutes",
        "waited for a processor",
        "contaminated",
        "unsettled",
    )
    rows = [
        (
            one.condition,
            model,
            str(rotations),
            f"{one.latency_ms[model]:.3g} ms" if model in one.latency_ms else "-",
            f"{one.minutes:g}",
            f"{100 * one.wait:.2g} % of the time",
            f"{100 * one.contaminated:.2g} % of blocks",
            f"{100 * one.unsettled:.2g} % of processes",
        )
        for one in told.recorded
        for model, rotations in one.rotations.items()
    ]
    yield from _table(head, rows)
    yield ""
    yield (
        "Minutes, waits, contaminated blocks (repeated, and in no estimate) and unsettled processes (counted "
        "here; a job with one goes to review) are those of all models under the condition."
    )
    for one in told.recorded:
        if one.condition == "quiet":
            yield ""
            yield (
                f"In {100 * one.disturbed:.2g} % of the quiet rotations the median block waited more than "
                f"{100 * QUIET_WAIT:g} % of its time: something else ran on this machine then."
            )
            if one.wait > QUIET_WAIT:
                yield "**The machine was not quiet**: what is called quiet here had other work beside it."


def _sessions(told: VerdictQuality) -> Iterator[str]:
    """Each call of the recorder: what the machine was doing before it, and with what it was recorded."""
    rows = [
        (
            one.at,
            _condition(one.condition),
            f"{one.load_1m:g}",
            ", ".join(f"{name} {version}" for name, version in sorted(one.versions.items())),
        )
        for one in told.sessions
    ]
    yield from _table(("began", "condition", "load average before (1 min)", "versions"), rows)


def _spreads(told: VerdictQuality) -> Iterator[str]:
    yield (
        "Of the ratio of both sides, one value a process pair: what a true slowdown shows as, and "
        "how far a single pair is off. Without outliers: 1.4826 times the median distance from the median."
    )
    yield ""
    head = (
        "condition",
        "model",
        "true slowdown",
        "pairs",
        "median ratio",
        "standard deviation of the log ratio",
        "without outliers",
        f"off by more than {OUTLYING_PCT:g} %",
    )
    rows = [
        (
            one.condition,
            one.model,
            f"{one.slowdown_pct:g} %",
            str(one.pairs),
            f"{one.median_ratio:.4f}",
            f"{one.spread_pct:.2f} %",
            f"{one.typical_pct:.2f} %",
            f"{one.outlying} of {one.pairs}",
        )
        for one in told.spreads
    ]
    yield from _table(head, rows)
