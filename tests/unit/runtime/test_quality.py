from __future__ import annotations

import numpy as np
import pytest

from edgeproof.runtime.quality import agreement, classes, rows, worst_agreement


def test_agreement_of_rows() -> None:
    left = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [np.nan, 1.0], [3.0, 4.0]])
    right = np.array([[0.0, 2.0], [2.0, 2.0], [0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [-3.0, -4.0]])
    cosine, error, relative = agreement(left, right)
    assert cosine == pytest.approx([0.0, 1.0, 1.0, 0.0, 0.0, -1.0])
    assert error == pytest.approx([2.0, 1.0, 0.0, 1.0, 0.0, 8.0])
    assert relative == pytest.approx([5**0.5, 1.0, 0.0, 1e6, 1.0, 2.0])


def test_agreement_of_extreme_values_stays_finite() -> None:
    big = np.finfo(np.float64).max
    with np.errstate(over="ignore"):
        cosine, error, relative = agreement(
            np.array([[big, big], [1e-320, 0.0]]), np.array([[-big, -big], [1e-320, 0.0]])
        )
    assert np.isfinite(cosine).all()
    assert np.isfinite(error).all()
    assert cosine[0] == pytest.approx(-1.0)
    assert relative == pytest.approx([2.0, 0.0])


def test_scale_is_seen_where_the_cosine_is_blind() -> None:
    outputs = np.array([[0.5], [2.0], [7.0]])
    cosine, _, relative = agreement(outputs, 10 * outputs)
    assert cosine == pytest.approx([1.0] * 3)
    assert relative == pytest.approx([9.0] * 3)


def test_the_worst_output_counts() -> None:
    boxes, scores = np.full((3, 40), 600.0), np.full((3, 10), 0.5)
    lost = scores.copy()
    lost[1] = 0.0
    cosine, error, relative = worst_agreement([boxes, scores], [boxes + 1, lost])
    assert cosine == pytest.approx([1.0, 0.0, 1.0])
    assert error == pytest.approx([1.0, 1.0, 1.0])
    assert relative == pytest.approx([1 / 600, 1.0, 1 / 600])


def test_a_row_that_is_not_finite_in_one_output_has_no_other() -> None:
    good, bad = np.array([[3.0], [3.0]]), np.array([[np.inf], [1.0]])
    cosine, error, relative = worst_agreement([good, good], [-2 * good, bad])
    assert cosine.tolist() == [0.0, -1.0]
    assert error.tolist() == [0.0, 9.0]
    assert relative.tolist() == [1.0, 3.0]


def test_rows_are_of_each_float_output() -> None:
    scores, boxes = np.ones((2, 3), np.float16), np.full((2, 2, 2), 5.0, np.float32)
    names = np.zeros((2, 1), np.int64)
    told = rows([scores, names, boxes], 2)
    assert [one.tolist() for one in told] == [[[1.0] * 3] * 2, [[5.0] * 4] * 2]
    assert [one.tolist() for one in rows([names], 2)] == [[[0.0], [0.0]]]


@pytest.mark.parametrize(
    ("shape", "count"), [((2, 3), 3), ((2, 1), None), ((1, 3), None), ((2, 3, 4), None), ((2,), None)]
)
def test_only_one_score_per_class_is_a_classification(shape: tuple[int, ...], count: int | None) -> None:
    assert classes(np.zeros(shape), 2) == count


def test_an_output_of_next_to_nothing_on_both_sides_disagrees_about_nothing() -> None:
    logits, silent = np.array([[3.0, 1.0]]), np.zeros((1, 2))
    cosine, error, relative = worst_agreement([logits, silent], [logits, np.array([[1e-9, 0.0]])])
    assert (cosine[0], relative[0], error[0]) == (pytest.approx(1.0), 0.0, 1e-9)
    cosine, _, relative = worst_agreement([logits, silent], [logits, np.array([[0.1, 0.0]])])
    assert (cosine[0], relative[0] > 1) == (0.0, True)
