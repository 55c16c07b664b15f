"""The counts as people read them: ``docs/verdict-quality.md``, and its goal table alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from edgeproof.bench.verdict.counts import GoalCount, RowCount, Share, TimeCount, VerdictQuality
from edgeproof.bench.verdict.goals import FEWEST_DUETS, MEDIAN_SECONDS

_ABOUT: Final = """\
Made by `edgeproof bench verdict --judge TRACES --markdown`; not edited by hand.

Models of about 0.5, 5 and 30 ms are chains of equal convolutions. In one rotation fresh processes of the
baseline, its twin and variants slowed by 2, 3 and 5 % play interleaved (under load: baseline and twin). Each
variant's pairs with the baseline are judged by the code that judges jobs, under the default policy (looks at
8, 12 and 16 pairs) with the row's margin for the median; the p90 gate keeps its 5 %. A slowdown is a spin of
exactly that share of each call. The 5 % of the 5 ms model is a heavier model instead: one layer more than 20,
of which the first is lighter, so it is about 5 %; what it truly costs is its median ratio in the last table.
No two trials of a row share a process; the rows share their baselines. Brackets are exact (Clopper-Pearson)
95 % intervals. The time to a verdict is that of the measurement: builds, transfers and the measuring of a
noise floor that the runner does not remember yet (up to as long again) are not in it.
"""
_SEQUENTIAL: Final = """\
Processes of the same rotations each ran 50 calls in one go (after 5 to warm up), before and after the
interleaved blocks. How often each rule calls the candidate a regression: at 0 % every time is a false alarm.
The two runs of a process are not independent, so these intervals are too narrow.
"""
QUIET_WAIT: Final = 0.01
"""Blocks that wait longer than this share of their time have company."""
_MARKS: Final = {"met": "met", "missed": "**missed**", "too few": "too few trials"}


def summary(told: VerdictQuality) -> str:
    """The goal table."""
    return "\n".join(_goals(told)) + "\n"


def page(told: VerdictQuality) -> str:
    """The whole page, in Markdown."""
    parts = (
        _head(told),
        ["## Goals", "", *_goals(told), "", *_claims(told), "", *_goal_words(told)],
        ["## Rules on sequential traces", "", *_sequential(told)],
        ["## What was played", "", *_recorded(told)],
        ["## Spread between process pairs", "", *_spreads(told)],
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
    versions = ", ".join(f"{name} {version}" for name, version in sorted(told.versions.items()))
    dates = " to ".join(dict.fromkeys((told.first_at[:10], told.last_at[:10])))
    machine = f"{system.cpu_model}, {told.processors} processors, {system.os}, {versions}"
    return [
        "# How often the verdict is wrong",
        "",
        f"Real executions on {machine}; {told.threads} thread a model; recorded {dates}.",
        "",
        *_ABOUT.splitlines(),
    ]


def _goals(told: VerdictQuality) -> Iterator[str]:
    head = ("true slowdown, margin", "trials", "no_regression", "regression", "inconclusive", "goal")
    yield from _table(head, (*map(_row, told.rows), _time(told.time)))


def _row(row: RowCount) -> tuple[str, ...]:
    condition = "quiet" if row.condition == "quiet" else "load on the other core"
    return (
        f"{row.slowdown_pct:g} %, {row.margin_pct:g} %, {condition}",
        str(row.trials),
        _percent(row.no_regression),
        _percent(row.regression),
        _percent(row.inconclusive),
        "; ".join(map(_goal, row.goals)),
    )


def _claims(told: VerdictQuality) -> Iterator[str]:
    """An improvement of a model over itself is a false claim too, though no goal counts it."""
    for row in told.rows:
        if row.slowdown_pct == 0 and row.trials:
            yield (
                f"- At 0 % against {row.margin_pct:g} %, {row.condition}, the twin was called an improvement "
                f"in {_percent(row.improved)}."
            )


def _goal(goal: GoalCount) -> str:
    return f"{goal.goal}: {_MARKS[goal.status]}"


def _time(time: TimeCount) -> tuple[str, ...]:
    seen = "-" if time.median_seconds is None else f"median {time.median_seconds:.3g} s"
    longest = "" if time.longest_seconds is None else f", longest {time.longest_seconds:.3g} s"
    goal = f"median at most {MEDIAN_SECONDS:g} s of {FEWEST_DUETS} or more: {_MARKS[time.status]}"
    return "time to a verdict, model of 5 ms or less, quiet", str(time.duets), seen + longest, "", "", goal


def _goal_words(told: VerdictQuality) -> list[str]:
    """Which goals are missed, and which cannot be told yet, each said plainly."""
    stated = [
        (f"{row.slowdown_pct:g} %, {row.margin_pct:g} %, {row.condition}: {goal.goal}", goal.status)
        for row in told.rows
        for goal in row.goals
    ]
    stated.append(("the time to a verdict", told.time.status))
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
        "flagged",
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
        )
        for one in told.recorded
        for model, rotations in one.rotations.items()
    ]
    yield from _table(head, rows)
    yield ""
    yield "Minutes, waits and flagged (contaminated) blocks are those of all models under the condition."
    for one in told.recorded:
        if one.condition == "quiet" and one.wait > QUIET_WAIT:
            yield ""
            yield "**The machine was not quiet**: what is called quiet here had other work beside it."


def _spreads(told: VerdictQuality) -> Iterator[str]:
    head = (
        "condition",
        "model",
        "true slowdown",
        "pairs",
        "median ratio",
        "standard deviation of the log ratio",
    )
    rows = [
        (
            one.condition,
            one.model,
            f"{one.slowdown_pct:g} %",
            str(one.pairs),
            f"{one.median_ratio:.4f}",
            f"{one.spread_pct:.2f} %",
        )
        for one in told.spreads
    ]
    yield from _table(head, rows)
