"""Which concrete shapes a model is fed: what the user gave, laid over what the model declares.

Forge builds for these shapes and runtime feeds them, so both ask here. It knows nothing of any model
format: a dimension is a fixed length, the name of a symbol, or None (dynamic without a name).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from edgeproof.contract.errors import StageFailed

Dimension = int | str | None
Shapes = dict[str, tuple[int, ...]]

_CHANNELS = (1, 3, 4)
IMAGE_RANK: Final = 4
"""Batch, channels and two axes of an image, in either order."""


def resolve(
    declared: Mapping[str, Sequence[Dimension]],
    given: Mapping[str, Sequence[int]],
    *,
    batch: int | None = None,
    height: int | None = None,
    width: int | None = None,
) -> Shapes:
    """The shape of every input, in the order of ``declared``.

    ``given`` wins, by input name. Else ``batch`` fills axis 0, ``height`` and ``width`` the two image
    axes of rank-4 inputs (NCHW; NHWC where only the last axis can be channels). A symbol that got a
    length has it everywhere. Raises ``StageFailed``: ``dynamic_dimension`` names what is still open,
    ``shape_mismatch`` what contradicts the model.
    """
    for name in given:
        if name not in declared:
            raise StageFailed(
                "shape_mismatch", f"the model has no input {name!r}; it has {', '.join(sorted(declared))}"
            )
    symbols: dict[str, int] = {}
    filled = {
        name: _overlay(name, shape, given[name], symbols) if name in given else list(shape)
        for name, shape in declared.items()
    }
    for what, length in (("batch", batch), ("height", height), ("width", width)):
        if length is not None:
            _fill_axis(what, length, declared, filled, given, symbols)
    open_dimensions: list[str] = []
    result: Shapes = {}
    for name, shape in filled.items():
        lengths = [symbols.get(one, one) if isinstance(one, str) else one for one in shape]
        result[name] = tuple(one for one in lengths if isinstance(one, int))
        open_dimensions += [
            f"input {name!r} axis {axis}" + (f" ({one})" if one else "")
            for axis, one in enumerate(lengths)
            if not isinstance(one, int)
        ]
    if open_dimensions:
        raise StageFailed(
            "dynamic_dimension", f"no length given for {'; '.join(open_dimensions)}: use batch, height, "
            "width or input_shapes",
        )  # fmt: skip
    return result


def image_axes(shapes: Mapping[str, Sequence[int]]) -> tuple[int | None, int | None, int | None]:
    """(batch, height, width) as results show them: of the first rank-4 input, else batch alone."""
    for shape in shapes.values():
        if len(shape) == IMAGE_RANK:
            height, width = _image_axes(shape)
            return shape[0], shape[height], shape[width]
    first = next((shape for shape in shapes.values() if shape), None)
    return (first[0] if first else None), None, None


def _image_axes(shape: Sequence[Dimension]) -> tuple[int, int]:
    last_is_channels = shape[3] in _CHANNELS and shape[1] not in _CHANNELS
    return (1, 2) if last_is_channels else (2, 3)


def _axis_of(what: str, shape: Sequence[Dimension]) -> int | None:
    if what == "batch":
        return 0 if shape else None
    if len(shape) != IMAGE_RANK:
        return None
    return _image_axes(shape)[0 if what == "height" else 1]


def _overlay(
    name: str, declared: Sequence[Dimension], given: Sequence[int], symbols: dict[str, int]
) -> list[Dimension]:
    shape = tuple(given)
    if len(shape) != len(declared) or any(
        isinstance(dimension, int) and dimension != length
        for dimension, length in zip(declared, shape, strict=True)
    ):
        raise StageFailed(
            "shape_mismatch", f"input {name!r} is {_show(declared)} in the model; {_show(shape)} was given"
        )
    for dimension, length in zip(declared, shape, strict=True):
        if isinstance(dimension, str):
            _bind(dimension, length, symbols)
    return list(shape)


def _fill_axis(
    what: str,
    length: int,
    declared: Mapping[str, Sequence[Dimension]],
    filled: dict[str, list[Dimension]],
    given: Mapping[str, Sequence[int]],
    symbols: dict[str, int],
) -> None:
    """Set the axis wherever it is open. Refuses a length that no input can have."""
    contradicted: list[str] = []
    fits = False
    for name, shape in declared.items():
        axis = _axis_of(what, shape)
        if axis is None:
            continue
        dimension = shape[axis]
        if name in given or dimension == length:
            fits = True
        elif isinstance(dimension, int):
            contradicted.append(f"{what} of input {name!r} is {dimension} in the model; {length} was given")
        else:
            fits = True
            if isinstance(dimension, str):
                _bind(dimension, length, symbols)
            filled[name][axis] = length
    if contradicted and not fits:
        raise StageFailed("shape_mismatch", "; ".join(contradicted))


def _bind(symbol: str, length: int, symbols: dict[str, int]) -> None:
    if symbols.setdefault(symbol, length) != length:
        raise StageFailed("shape_mismatch", f"dimension {symbol!r} cannot be {symbols[symbol]} and {length}")


def _show(shape: Sequence[Dimension]) -> str:
    return "[" + ", ".join("?" if one is None else str(one) for one in shape) + "]"
