"""Each run that begins to wait wakes one of those who wait for it, and a call is never dropped on the way."""

from __future__ import annotations

import asyncio

from edgeproof.server.db.turns import EVERYBODY, Turn, Turns, turn_key


def called(*turns: Turn) -> list[bool]:
    return [bool(turn.calls) for turn in turns]


def test_one_of_those_who_wait_is_called_the_longest_waiting_first() -> None:
    turns = Turns()
    first, second, other = (turns.join(frozenset({key})) for key in ("1", "1", "2"))
    turns.call("1 1")
    assert called(first, second, other) == [True, False, False]
    turns.call("1")
    assert called(first, second, other) == [True, True, False]
    turns.call("1 5")
    assert first.calls == second.calls == ["1"]


def test_as_many_are_called_as_there_are_runs() -> None:
    turns = Turns()
    waiting = [turns.join(frozenset({"7", "@r"})) for _ in range(5)]
    turns.call("7 3")
    assert called(*waiting) == [True, True, True, False, False]


def test_a_run_that_names_a_runner_calls_that_runner() -> None:
    turns = Turns()
    one, other = (
        turns.join(frozenset({"1", turn_key(1, "a")})),
        turns.join(frozenset({"1", turn_key(1, "b")})),
    )
    turns.call(f"{turn_key(1, 'b')} 1")
    assert called(one, other) == [False, True]


def test_an_unused_call_passes_on_when_its_runner_leaves() -> None:
    turns = Turns()
    first, second, third = (turns.join(frozenset({"1"})) for _ in range(3))
    turns.call("1")
    turns.leave(first)
    assert called(second, third) == [True, False]
    turns.look(second)
    turns.leave(second)
    assert third.calls == ["1"]


def test_a_used_call_does_not_pass_on() -> None:
    turns = Turns()
    first, second = turns.join(frozenset({"1"})), turns.join(frozenset({"1"}))
    turns.call("1")
    turns.look(first)
    first.use(frozenset({"1"}))
    turns.leave(first)
    assert called(second) == [False]


def test_a_call_for_one_class_passes_on_when_a_run_of_another_was_taken() -> None:
    turns = Turns()
    first, second = turns.join(frozenset({"1", "2"})), turns.join(frozenset({"1", "2"}))
    turns.call("1")
    turns.look(first)
    first.use(frozenset({"2"}))
    turns.leave(first)
    assert second.calls == ["1"]


async def test_who_looks_is_called_again_by_what_comes_meanwhile() -> None:
    turns = Turns()
    only = turns.join(frozenset({"1"}))
    turns.call("1")
    await asyncio.wait_for(only.called(), 1)
    turns.look(only)
    turns.call("1")
    await asyncio.wait_for(only.called(), 1)
    assert only.calls == ["1"]


def test_a_new_class_or_a_lost_connection_calls_everybody() -> None:
    turns = Turns()
    waiting = [turns.join(frozenset({key})) for key in ("1", "2")]
    turns.call(EVERYBODY)
    assert called(*waiting) == [True, True]
    turns.call_all()
    for turn in waiting:
        turns.leave(turn)
    turns.call_all()
    assert called(turns.join(frozenset({"1"}))) == [False]


def test_calls_for_what_one_may_have_no_more_pass_on_to_those_who_may() -> None:
    turns = Turns()
    first, second, third = (turns.join(frozenset({"@me", "1", "2"})) for _ in range(3))
    turns.call("1")
    turns.look(first)
    turns.call("2")
    assert called(first, second, third) == [False, True, False]
    turns.look(second)
    assert turns.change_keys(first, frozenset({"@me"}))
    assert called(first, second, third) == [False, False, True]
    assert turns.change_keys(second, frozenset({"@me", "1"}))
    assert not turns.change_keys(second, frozenset({"@me", "1"}))
    turns.look(third)
    turns.call("2")
    assert called(first, second, third) == [False, False, True]
    turns.call("@me")
    turns.call("1")
    assert called(first, second, third) == [True, True, True]
