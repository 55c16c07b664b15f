from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from edgeproof.bench.verdict.counts import VerdictQuality, count, share
from edgeproof.bench.verdict.goals import ROWS, Goal
from edgeproof.bench.verdict.page import page, summary
from edgeproof.bench.verdict.rotation import first_order
from edgeproof.bench.verdict.sequential import RULES, is_sequential, mann_whitney, mean_or_p99_3
from edgeproof.bench.verdict.traces import Condition, Session
from edgeproof.bench.verdict.variants import PLAYED
from edgeproof.contract.errors import Refused

from .hand_made import recorded, rotations, session, side, timed


def test_shares_have_exact_intervals() -> None:
    """Clopper and Pearson's for 0 of 300 is 1 - 0.025^(1/300)."""
    told = share(0, 300)
    assert (told.low, told.high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 300), rel=1e-4))
    assert (share(0, 0).low, share(0, 0).high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("goal", "verdicts", "status"),
    [
        (Goal("regression", "at most", 0, 4), ["no_regression"] * 3, "too few"),
        (Goal("regression", "at most", 0, 4), ["no_regression"] * 4, "met"),
        (Goal("regression", "at most", 0, 4), ["regression"], "missed"),
        (Goal("regression", "at most", 0, 4), ["improved"] * 4 + ["regression"], "met"),
        (Goal("no_regression", "at least", 3, 4), ["improved", "no_regression", "inconclusive"], "too few"),
        (Goal("no_regression", "at least", 3, 4), ["inconclusive", "regression"], "missed"),
        (Goal("no_regression", "at least", 3, 4), ["no_regression"] * 3 + ["regression"], "met"),
    ],
)
def test_a_goal_is_missed_at_once_and_met_only_with_all_trials(
    goal: Goal, verdicts: list[str], status: str
) -> None:
    assert goal.status(msgspec.convert(verdicts, list)) == status


def row(told: VerdictQuality, slowdown: float, margin: float, condition: str = "quiet") -> dict[str, int]:
    one = next(
        one
        for one in told.rows
        if (one.slowdown_pct, one.margin_pct, one.condition) == (slowdown, margin, condition)
    )
    names = ("no_regression", "regression", "inconclusive")
    counts = {name: getattr(one, name).count for name in names}
    assert sum(counts.values()) == one.trials == sum(sum(found.values()) for found in one.by_model.values())
    return {name: number for name, number in counts.items() if number}


def test_one_round_serves_every_row() -> None:
    told = count(recorded(spread=0.001))
    assert row(told, 0, 3) == {"no_regression": 4}
    assert row(told, 0, 3, "load") == {"no_regression": 2}
    assert row(told, 5, 3) == {"regression": 4}
    assert row(told, 3, 3) == {"inconclusive": 4}, "it plays twice in a rotation"
    assert row(told, 2, 1) == {"regression": 4}
    assert row(told, 0, 1) == {"no_regression": 4}
    assert [one.condition for one in told.recorded] == ["quiet", "load"]
    assert told.recorded[0].rotations == {"0.5 ms": 32}
    spreads = {(one.condition, one.slowdown_pct): one for one in told.spreads}
    assert spreads["quiet", 5].median_ratio == pytest.approx(1.05, abs=0.002)
    assert (spreads["load", 0].pairs, spreads["quiet", 3].pairs, len(spreads)) == (16, 64, 5)
    assert {one.outlying for one in told.spreads} == {0}


def test_outliers_are_told_apart_from_the_spread() -> None:
    """Every 16th pair is off by far: the standard deviation follows it, the typical spread does not."""
    plain = [*rotations(64, spread=0.002)]
    wild = [
        replace(one, sides={**one.sides, "twin": side(6e5)}) if one.index % 16 == 3 else one for one in plain
    ]
    for records, outlying in ((plain, 0), (wild, 4)):
        told = next(one for one in count([session(), *records]).spreads if one.slowdown_pct == 0)
        assert told.outlying == outlying
        assert told.typical_pct == pytest.approx(0.28, abs=0.1)
        assert (told.spread_pct > 3) == bool(outlying)


def test_models_have_streams_of_their_own() -> None:
    """Seven pairs of one and seven of another are no trial."""
    records = [session(), *rotations(7), *rotations(7, model="5 ms")]
    assert row(count(records), 0, 3) == {}


def test_sequential_rules_judge_both_runs_of_every_seventh_rotation_and_of_no_other() -> None:
    told = count(recorded(spread=0.0))
    alarms = {(one.rule, one.slowdown_pct, one.condition): one.alarms for one in told.sequential}
    assert {one.of for (_, at, condition), one in alarms.items() if condition == "quiet" and at != 3} == {8}
    assert {rule for rule, _, _ in alarms} == set(RULES)
    assert {alarms[rule, 0, "quiet"].count for rule in RULES} == {0}
    assert {alarms[rule, 5, "quiet"].count for rule in set(RULES) - {"5 % on medians"}} == {8}
    assert alarms["5 % on medians", 3, "quiet"].count == 0


@pytest.mark.parametrize("condition", ["quiet", "load"])
def test_in_sequential_traces_each_process_is_before_each_other_equally_often(condition: Condition) -> None:
    names = PLAYED[condition]
    orders = [first_order(names, index) for index in range(7 * len(names) * 4) if is_sequential(index)]
    assert len(orders) == 4 * len(names)
    assert {orders.count(first_order(names, at)) for at in range(len(names))} == {4}


def test_the_rules_by_hand() -> None:
    quiet, tail = list(range(1000, 1050)), [*range(1000, 1049), 1200]
    assert mean_or_p99_3(quiet, tail) and not RULES["3 % on means"](quiet, tail)
    assert mann_whitney(quiet, [one + 20 for one in quiet])
    assert not mann_whitney([one + 20 for one in quiet], quiet)
    assert not mann_whitney(quiet, quiet)


def test_the_time_to_a_verdict_counts_quiet_duets_of_quick_models() -> None:
    others = [timed(99.0, "30 ms"), timed(99.0, condition="load")]
    few = count([session(), *others, *(timed(10.0 + at) for at in range(9))]).time
    assert (few.duets, few.median_seconds, few.longest_seconds, few.status) == (9, 14.0, 18.0, "too few")
    assert few.by_model == {"5 ms": (9, 14.0)}
    assert count([session(), *(timed(20.0) for _ in range(10))]).time.status == "met"
    assert count([session(), *(timed(20.1) for _ in range(10))]).time.status == "missed"


def test_the_median_time_has_an_interval_by_order_statistics() -> None:
    """Of 10 values the second and the ninth, of 5 none: half to the tenth is 0.001, to the fifth 0.03."""
    ten = count([session(), *(timed(float(at)) for at in range(10))]).time
    assert (ten.median_seconds, ten.low_seconds, ten.high_seconds) == (4.5, 1.0, 8.0)
    five = count([session(), *(timed(float(at)) for at in range(5))]).time
    assert (five.median_seconds, five.low_seconds, five.high_seconds) == (2.0, None, None)


def test_what_a_goal_counts_is_told_of_the_trials_that_count() -> None:
    goal = Goal("regression", "at most", 0, 2)
    assert goal.found(["regression", "improved", "regression"]) == 1
    assert Goal("no_regression", "at least", 1, 3).found(["improved", "regression", "no_regression"]) == 2


@pytest.mark.parametrize(
    "other",
    [
        replace(session(), processors=4),
        replace(session(), threads=2),
        replace(session(), versions={"edgeproof": "0", "onnxruntime": "2"}),
        replace(session(), plan=replace(session().plan, blocks=5)),
    ],
)
def test_sessions_that_differ_in_what_matters_are_not_counted_together(other: Session) -> None:
    with pytest.raises(Refused, match="engine or plan"):
        count([session(), other])


def test_other_gates_and_another_edgeproof_make_no_other_traces() -> None:
    plan = replace(session().plan, gates={"p50": 1.0}, looks=(8,), confidence=0.9)
    told = count([session(), replace(session(), plan=plan, versions={"edgeproof": "1"})])
    assert [one.versions["edgeproof"] for one in told.sessions] == ["0", "1"]


def test_traces_of_no_or_two_machines_are_refused() -> None:
    with pytest.raises(Refused, match="of what machine"):
        count(rotations(2))
    with pytest.raises(Refused, match="more than one machine"):
        count([session(), session("another")])


def test_the_page_says_what_was_met_missed_and_not_yet_told() -> None:
    told = count(recorded(spread=0.02))
    text = page(told)
    for one in ROWS:
        assert f"{one.slowdown} %, {one.margin} %" in text
    assert "too few trials" in text and "Clopper-Pearson" in text and "invented" in text
    assert "not quiet" not in text
    assert "the measuring of a\nnoise floor that the runner does not remember yet" in text
    assert "regression 0 of 300: too few trials, 0 of 2 (0.0-84.2 %) so far" in text
    assert (
        "- 0 %, 3 %, load on the other core: regression 0 of 150: too few trials, 0 of 2 (0.0-84.2 %)" in text
    )
    assert "| 0 %, 3 %, quiet | 0.5 ms | 2 |" in text
    assert "| 2026-01-02T03:04:05Z | quiet | 0 | edgeproof 0 |" in text
    assert "--resume --minutes 120 --load" in text
    assert "At 0 % against 3 %, quiet, the twin was called an improvement in 0 of" in text
    assert summary(told).strip() in text
    missed = count([session(), *rotations(16, spread=0.001), timed(90.0)] + [timed(90.0)] * 9)
    assert "**Goals missed:**\n\n- the time to a verdict" in page(missed)


def test_a_noisy_machine_is_not_called_quiet() -> None:
    assert "**The machine was not quiet**" in page(count([session(), *rotations(8, wait=0.2)]))
