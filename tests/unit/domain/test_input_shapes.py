"""Input shapes: what was given, laid over what the model declares."""

from __future__ import annotations

import pytest

from edgeproof.contract.errors import StageFailed
from edgeproof.domain.input_shapes import image_axes, resolve

NCHW = {"image": ("N", 3, "H", "W")}


@pytest.mark.parametrize(
    ("declared", "given", "axes", "expected"),
    [
        (NCHW, {}, {"batch": 2, "height": 32, "width": 64}, {"image": (2, 3, 32, 64)}),
        (NCHW, {"image": (1, 3, 8, 9)}, {"batch": 2, "height": 32}, {"image": (1, 3, 8, 9)}),
        ({"image": (None, "H", "W", 3)}, {}, {"batch": 1, "height": 4, "width": 5}, {"image": (1, 4, 5, 3)}),
        ({"image": (1, 3, 8, 8)}, {}, {"batch": 1, "height": 8, "width": 8}, {"image": (1, 3, 8, 8)}),
        ({"a": ("N", 4), "b": ("N",)}, {"a": (7, 4)}, {}, {"a": (7, 4), "b": (7,)}),
        ({"a": ("N", "S"), "b": ("N", "S")}, {"b": (2, 16)}, {}, {"a": (2, 16), "b": (2, 16)}),
        ({"a": ("N", 4), "table": (10, 4)}, {}, {"batch": 3}, {"a": (3, 4), "table": (10, 4)}),
        ({"scalar": ()}, {}, {}, {"scalar": ()}),
        ({}, {}, {"batch": 1}, {}),
    ],
)
def test_resolved(declared, given, axes, expected):
    assert resolve(declared, given, **axes) == expected


@pytest.mark.parametrize(
    ("declared", "given", "axes", "code", "words"),
    [
        (NCHW, {}, {"batch": 1}, "dynamic_dimension", r"axis 2 \(H\); input 'image' axis 3 \(W\)"),
        ({"x": (None, 2)}, {}, {}, "dynamic_dimension", "axis 0:"),
        ({"x": ("N", "S")}, {}, {"batch": 1, "height": 5}, "dynamic_dimension", r"axis 1 \(S\)"),
        (NCHW, {"imag": (1, 3, 8, 8)}, {}, "shape_mismatch", "no input 'imag'; it has image"),
        (NCHW, {"image": (1, 4, 8, 8)}, {}, "shape_mismatch", r"\[N, 3, H, W\] in the model; \[1, 4, 8, 8\]"),
        (NCHW, {"image": (1, 3, 8)}, {}, "shape_mismatch", "was given"),
        ({"x": (1, 3, 8, 8)}, {}, {"batch": 2}, "shape_mismatch", "batch of input 'x' is 1"),
        ({"x": (1, 3, 8, 8)}, {}, {"height": 9}, "shape_mismatch", "height of input 'x' is 8"),
        ({"x": ("N", "N")}, {"x": (2, 3)}, {}, "shape_mismatch", "'N' cannot be 2 and 3"),
        ({"x": ("N",), "y": ("N",)}, {"x": (2,)}, {"batch": 3}, "shape_mismatch", "'N' cannot be 2 and 3"),
    ],
)
def test_refused(declared, given, axes, code, words):
    with pytest.raises(StageFailed, match=words) as caught:
        resolve(declared, given, **axes)
    assert caught.value.code == code


def test_axes_that_results_show():
    assert image_axes({"m": (1, 2), "image": (4, 3, 32, 64)}) == (4, 32, 64)
    assert image_axes({"image": (4, 32, 64, 3)}) == (4, 32, 64)
    assert image_axes({"tokens": (2, 16)}) == (2, None, None)
    assert image_axes({"scalar": ()}) == (None, None, None)
