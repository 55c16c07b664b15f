from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest
from msgspec.structs import replace

from edgeproof.bench.verdict.counts import ReviewCount, count
from edgeproof.bench.verdict.page import page
from edgeproof.bench.verdict.traces import Rotation

from .hand_made import rotations, session, side


def played(draws: int, restless: Collection[int] = (), model: str = "0.5 ms") -> list[Rotation]:
    """So many times 8 rotations of steady processes; in the draws ``restless`` the twin is 5 % off, by turns
    to either side."""
    found = [*rotations(8 * draws, spread=0.0005, model=model)]
    for at in (8 * draw + step for draw in restless for step in range(8)):
        found[at] = with_twin(found[at], 5e5 * (1.05 if at % 2 else 0.95))
    return found


def with_twin(one: Rotation, typical_ns: float, *, settled: bool = True) -> Rotation:
    twin = replace(side(typical_ns), settled=settled)
    return replace(one, sides={**one.sides, "twin": twin})


def reviews(records: Iterable[Rotation]) -> dict[str | None, ReviewCount]:
    return {one.model: one for one in count([session(), *records]).reviews}


def found(told: ReviewCount) -> tuple[tuple[int, int], ...]:
    return tuple((one.count, one.of) for one in (told.one_draw, told.three_draws, told.unsettled))


def test_a_steady_device_asks_nobody() -> None:
    """Of five trials of 8 pairs each the last two have three draws before them."""
    assert found(reviews(played(5))[None]) == ((0, 2), (0, 2), (0, 5))


@pytest.mark.parametrize(
    ("draws", "one_draw", "three_draws", "passed"),
    [(5, (1, 1), (0, 1), 3), (6, (2, 2), (1, 2), 4), (7, (2, 3), (2, 3), 5), (8, (2, 4), (2, 4), 6)],
)
def test_a_trial_goes_by_the_draws_before_its_own_number(
    draws: int, one_draw: tuple[int, int], three_draws: tuple[int, int], passed: int
) -> None:
    """The draws 2 and 3 are restless, and both are in the trial 2, which takes 16 pairs and does not pass.
    The trials 3 to 6 go by the draws 2 to 5 each, or by 0-2, 1-3, 2-4 and 3-5."""
    told = reviews(played(draws, restless=(2, 3)))[None]
    assert found(told) == (one_draw, three_draws, (0, passed))


def test_a_draw_of_another_day_is_not_taken_together_with_the_last() -> None:
    """The trial 5 goes by the draws 2 to 4, of which the last alone is of its day."""
    plain = played(7, restless=(2, 3))
    moved = [replace(one, at="2026-01-04T03:04:05Z") if at >= 32 else one for at, one in enumerate(plain)]
    assert reviews(plain)[None].three_draws.count == 2
    assert reviews(moved)[None].three_draws.count == 1


def test_models_have_draws_of_their_own() -> None:
    told = reviews([*played(5, restless=(2, 3)), *played(5, model="5 ms")])
    assert found(told["0.5 ms"]) == ((1, 1), (0, 1), (0, 3))
    assert found(told["5 ms"]) == ((0, 2), (0, 2), (0, 5))
    assert found(told[None]) == ((1, 3), (0, 3), (0, 8))


def test_a_process_of_the_trial_that_never_came_to_rest_asks_a_person() -> None:
    """The pairs of slowed variants are of no account, nor is a load."""
    plain = played(2)
    unsettled = replace(plain[3].sides["by_2"], settled=False)
    other = [*plain[:3], replace(plain[3], sides={**plain[3].sides, "by_2": unsettled}), *plain[4:]]
    assert found(reviews(other)[None])[2] == (0, 2)
    twin = [*plain[:3], with_twin(plain[3], 5e5, settled=False), *plain[4:]]
    assert found(reviews(twin)[None])[2] == (1, 2)
    loaded = [with_twin(one, 5e5, settled=False) for one in rotations(8, condition="load")]
    assert found(reviews([*plain, *loaded])[None])[2] == (0, 2)


def test_the_page_tells_each_model_and_all() -> None:
    text = page(count([session(), *played(6, restless=(2, 3))]))
    told = "| 2 of 2 (15.8-100.0 %) | 1 of 2 (1.3-98.7 %) | 0 of 4 (0.0-60.2 %) |"
    assert f"| 0.5 ms {told}" in text and f"| all {told}" in text
    assert "with no goal attached" in text
    assert "| all | - | - | - |" in page(count([session()]))
