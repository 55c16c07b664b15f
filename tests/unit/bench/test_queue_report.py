"""The goals of `bench queue`: met or missed as the figures say, with a note where less was asked for."""

from __future__ import annotations

import msgspec

from edgeproof.bench.queue.backlog import Backlog, Backlogs
from edgeproof.bench.queue.cycles import Cycles
from edgeproof.bench.queue.endurance import Endurance
from edgeproof.bench.queue.ground import quantile
from edgeproof.bench.queue.peers import Peer
from edgeproof.bench.queue.report import QueueSpeed, endurance_goal, endurance_words, words
from edgeproof.bench.queue.waiting import Pickup


def cycles(per_second: float, count: int, dead: int) -> Cycles:
    return Cycles(
        runners=16,
        cycles=count,
        seconds=1.0,
        per_second=per_second,
        signing_ms=1.5,
        ed25519_ms=0.3,
        signing_share=0.25,
        dead_rows=(5 * dead, dead),
        table_bytes=(8192, 8192),
        hot_share=0.5,
    )


def pickup(runners: int, p95_ms: float) -> Pickup:
    return Pickup(runners=runners, per_second=20.0, runs=100, p50_ms=1.0, p95_ms=p95_ms)


def backlogs(large: int, *rates: float) -> Backlogs:
    """``rates`` are those behind the large one; behind the small one 500 a second each time."""
    return Backlogs(
        small=Backlog(waiting=1000, claimable=10, claims_per_second=500.0, turns=(500.0,) * len(rates)),
        large=Backlog(waiting=large, claimable=large // 100, claims_per_second=rates[0], turns=rates),
    )


GOOD = QueueSpeed(
    cpus=2,
    load_before=0.1,
    quick=False,
    single=cycles(900.0, 1_000_000, 100),
    crowded=cycles(900.0, 1_000_000, 100),
    batched=cycles(3000.0, 1_000_000, 100),
    few=pickup(10, 20.0),
    many=pickup(1000, 30.0),
    backlogs=backlogs(1_000_000, 450.0),
    peers=(Peer(name="other", version="1", jobs=10, per_second=370.0),),
)


def test_every_goal_can_be_met_without_a_note() -> None:
    *measured, dead_rows = GOOD.goals()
    assert [(goal.met, goal.note) for goal in measured] == [(True, "")] * 6
    assert (dead_rows.met, dead_rows.figure) == (None, None)
    assert "--cycles 1000000" in dead_rows.note


def test_the_rates_of_two_backlogs_are_compared_turn_by_turn() -> None:
    """One turn in which the machine was busy says nothing."""
    assert backlogs(1_000_000, 450.0, 460.0, 90.0).ratio() == 0.9


def test_each_figure_can_miss_its_goal() -> None:
    worse = {
        "single": cycles(799.0, 1_000_000, 0),
        "crowded": cycles(799.0, 1_000_000, 0),
        "batched": cycles(2999.0, 1_000_000, 0),
        "few": pickup(10, 26.0),
        "backlogs": backlogs(1_000_000, 449.0),
        "many": pickup(1000, 31.0),
    }
    for place, (name, figure) in enumerate(worse.items()):
        goals = msgspec.structs.replace(GOOD, **{name: figure}).goals()
        assert not goals[place].met, name


def test_less_than_the_goal_asks_for_is_said() -> None:
    small = msgspec.structs.replace(
        GOOD,
        many=pickup(300, 30.0),
        backlogs=backlogs(50_000, 450.0),
        single=cycles(900.0, 10, 0),
        crowded=cycles(900.0, 10, 0),
        batched=cycles(3000.0, 10, 0),
    )
    assert [bool(goal.note) for goal in small.goals()] == [False, False, False, False, True, True, True]


def test_the_words_say_the_verdicts_the_share_and_who_else_was_at_work() -> None:
    text = words(GOOD)
    assert text.count(", met") == 6
    assert text.count(", not measured (") == 1
    assert "1.5 ms a cycle" in text
    assert "25 % of all processor time" in text
    assert "other 1, plain claim" in text
    assert "procrastinate: not installed" in text
    assert "others were at work" not in text
    assert "others were at work" in words(msgspec.structs.replace(GOOD, load_before=3.0))


def lasting(cycles_done: int, *dead: int) -> Endurance:
    return Endurance(cycles=cycles_done, spans=tuple(cycles(900.0, cycles_done, one) for one in dead))


def test_dead_rows_may_rise_and_fall_but_not_grow() -> None:
    steady = endurance_goal(lasting(1_000_000, 10, 30, 10, 30, 11, 29, 10, 30))
    assert (steady.met, steady.note) == (True, "")
    grown = endurance_goal(lasting(999, 10, 10, 20, 20, 30, 30, 40, 40))
    assert (grown.met, grown.figure, bool(grown.note)) == (False, 4.0, True)
    assert not endurance_goal(lasting(1_000_000, 10)).met, "one span tells nothing"
    assert "missed" in endurance_words(lasting(999, 10, 40))


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert quantile(values, 0.95) == 96.0
    assert quantile([7.0], 0.95) == 7.0
