from __future__ import annotations

from edgeproof.domain.sides import block_order
from edgeproof.runtime.pairs import FEWEST_CALLS, MOST_CALLS, Loaded, calls_for, first_side, turn_of


def test_blocks_alternate_and_swap() -> None:
    order = block_order("candidate", 4)
    assert [one[0] for one in order] == ["c", "b", "b", "c", "c", "b", "b", "c"]
    assert block_order("baseline", 3).count("baseline") == block_order("baseline", 3).count("candidate") == 3


def test_each_two_pairs_begin_with_both_sides() -> None:
    for seed in range(20):
        firsts = [first_side(index, seed) for index in range(8)]
        assert all({firsts[at], firsts[at + 1]} == {"baseline", "candidate"} for at in (0, 2, 4, 6))
        assert firsts == [first_side(index, seed) for index in range(8)]
    assert {first_side(0, seed) for seed in range(20)} == {"baseline", "candidate"}


def test_every_two_pairs_run_on_other_cores_and_all_get_their_turn() -> None:
    assert [turn_of([[0], [1]], index, 1) for index in range(6)] == [(0,), (0,), (1,), (1,), (0,), (0,)]
    assert [turn_of([[0], [1], [2]], index, 2) for index in (0, 2, 4)] == [(0, 1), (0, 2), (1, 2)]


def test_siblings_share_a_core_only_when_there_is_no_other() -> None:
    uneven = [[0, 1], [2]]
    assert {turn_of(uneven, index, 2) for index in range(8)} == {(0, 2)}
    hybrid = [[0, 1], [2, 3], [4], [5]]
    assert {turn_of(hybrid, index, 4) for index in range(8)} == {(0, 2, 4, 5)}
    assert {turn_of(hybrid, index, 5) for index in range(8)} == {(0, 1, 2, 4, 5), (0, 2, 3, 4, 5)}


def test_who_needs_all_processors_is_bound_to_none() -> None:
    assert turn_of([[0], [1]], 0, 2) == turn_of([[0]], 5, 1) == turn_of([[0, 1]], 3, 8) == ()


def loaded(*warmup_ns: int, first_ns: int = 10**9) -> Loaded:
    return Loaded(load_ns=1, first_ns=first_ns, warmup_ns=warmup_ns, settled=True)


def test_a_block_takes_about_20_ms() -> None:
    one_ms = loaded(9_000_000, 1_000_000, 1_000_000)
    assert calls_for([one_ms, one_ms]) == 20
    assert calls_for([one_ms, loaded(3_000_000, 3_000_000)]) == 10
    assert calls_for([loaded(), loaded()]) == FEWEST_CALLS
    assert calls_for([loaded(1_000), loaded(1_000)]) == MOST_CALLS
