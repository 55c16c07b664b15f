"""Telling a model file from other bytes, and a whole one from one that is cut short.

ONNX files have no magic number: they are protobuf, whose parser accepts a file cut at a field's end
and cannot say "truncated". So the outermost fields of ``ModelProto`` are walked here first
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). What lies inside them is not looked at.
"""

from __future__ import annotations

from typing import Final

from edgeproof.contract.errors import StageFailed

_VARINT, _LENGTH = 0, 2
_IR_VERSION, _GRAPH, _OPSET_IMPORT = 1, 7, 8
#: Field number → wire type, of every field that ModelProto has.
_FIELDS: Final = {
    1: _VARINT, 2: _LENGTH, 3: _LENGTH, 4: _LENGTH, 5: _VARINT, 6: _LENGTH, 7: _LENGTH, 8: _LENGTH,
    14: _LENGTH, 20: _LENGTH, 25: _LENGTH, 26: _LENGTH,
}  # fmt: skip
_TEXT: Final = frozenset({2, 3, 4, 6})
_MAX_IR_VERSION: Final = 1000


class _Cut(Exception):
    """The bytes end inside a field."""


def demand_whole_model(data: bytes) -> None:
    """Raises ``StageFailed``: ``model_not_onnx`` or ``model_truncated``."""
    seen: set[int] = set()
    at = 0
    try:
        while at < len(data):
            at = _next_field(data, at, seen)
    except _Cut:
        if _IR_VERSION not in seen:
            raise _not_onnx("it does not start as one") from None
        raise StageFailed("model_truncated", f"the file ends inside a field, at byte {len(data)}") from None
    if not seen:
        raise _not_onnx("it is empty")
    if not {_GRAPH, _OPSET_IMPORT} <= seen:
        if _IR_VERSION not in seen:
            raise _not_onnx("it has neither a version nor a graph")
        raise StageFailed("model_truncated", f"the file ends before its graph does, at byte {len(data)}")


def _next_field(data: bytes, at: int, seen: set[int]) -> int:
    key, at = _varint(data, at)
    number, wire_type = key >> 3, key & 7
    if _FIELDS.get(number) != wire_type:
        raise _not_onnx(f"an ONNX model has no field {number} of wire type {wire_type}")
    value, at = _varint(data, at)
    if wire_type == _VARINT:
        if number == _IR_VERSION and not 0 < value <= _MAX_IR_VERSION:
            raise _not_onnx(f"IR version {value}")
        seen.add(number)
        return at
    if number in _TEXT:
        try:
            data[at : at + value].decode()
        except UnicodeDecodeError as error:
            if at + value <= len(data) or error.reason != "unexpected end of data":
                raise _not_onnx(f"field {number} is no text") from None
    if at + value > len(data):
        raise _Cut
    seen.add(number)
    return at + value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _Cut
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise _not_onnx("a number has more than 64 bits")


def _not_onnx(why: str) -> StageFailed:
    return StageFailed("model_not_onnx", f"the file is not an ONNX model: {why}")
