from __future__ import annotations

import pytest

from edgeproof.bench.verdict.rotation import first_order, orders, pair_of
from edgeproof.bench.verdict.trials import Trials, plan_of, policy_at
from edgeproof.bench.verdict.variants import PLAYED, reference_of, slowdown_of, slowed_by
from edgeproof.lab.policies import default_policy

from .hand_made import rotations


def told(variant: str, margin: float, count: int, spread: float = 0.003) -> list[tuple[int, str]]:
    """After how many pairs each verdict came."""
    trials = Trials(policy_at(margin))
    found: list[tuple[int, str]] = []
    for number, one in enumerate(rotations(count, spread=spread), 1):
        verdict = trials.add(pair_of(one.order, one.sides, variant, one.index))
        if verdict is not None:
            found.append((number, verdict))
    return found


def test_a_clear_case_ends_at_the_first_look_and_the_next_begins_after_it() -> None:
    assert told("twin", 3, 24, spread=0.001) == [
        (8, "no_regression"),
        (16, "no_regression"),
        (24, "no_regression"),
    ]
    assert told("by_5", 3, 17, spread=0.001) == [(8, "regression"), (16, "regression")]


def test_an_open_case_goes_on_to_the_last_look() -> None:
    assert told("by_3", 3, 33) == [(16, "inconclusive"), (32, "inconclusive")]


def test_an_unfinished_trial_is_no_trial() -> None:
    assert told("twin", 3, 7) == []


def test_only_the_margin_of_the_median_is_another() -> None:
    assert policy_at(3.0) == default_policy()
    gates = policy_at(1.0).latency.gates
    assert [(gate.metric, gate.margin_pct) for gate in gates] == [("p50", 1.0), ("p90", 5.0)]
    assert plan_of(policy_at(1.0)).gates == {"p50": 1.0, "p90": 5.0}


def test_every_variant_takes_every_place_and_a_drift_falls_on_all_alike() -> None:
    names = ("baseline", "twin", "by_3")
    assert {first_order(names, index)[0] for index in range(3)} == set(names)
    played = orders(first_order(names, 1), 4)
    places = {name: sum(at * 3 + order.index(name) for at, order in enumerate(played)) for name in names}
    assert len(set(places.values())) == 1


@pytest.mark.parametrize(("index", "first"), [(0, "baseline"), (1, "candidate")])
def test_a_pair_says_who_came_first(index: int, first: str) -> None:
    one = list(rotations(2))[index]
    pair = pair_of(one.order, one.sides, "by_5", index)
    assert pair.first == first
    assert (pair.baseline, pair.candidate) == (one.sides["baseline"], one.sides["by_5"])


@pytest.mark.parametrize(("index", "first"), [(1, "baseline"), (2, "candidate")])
def test_who_plays_again_is_compared_with_the_twin(index: int, first: str) -> None:
    one = list(rotations(3))[index]
    pair = pair_of(one.order, one.sides, "by_3_again", index)
    assert pair.first == first
    assert (pair.baseline, pair.candidate) == (one.sides["twin"], one.sides["by_3_again"])


def test_no_two_comparisons_of_a_slowdown_share_a_process() -> None:
    for names in PLAYED.values():
        for percent in {slowdown_of(name) for name in names}:
            compared = slowed_by(percent, names)
            processes = [*compared, *(reference_of(name) for name in compared)]
            assert len(set(processes)) == len(processes)
            assert set(processes) <= set(names)
            assert {slowdown_of(reference_of(name)) for name in compared} == {0}
    assert slowed_by(3, PLAYED["quiet"]) == ("by_3", "by_3_again")
