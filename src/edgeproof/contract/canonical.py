"""Canonical bytes: RFC 8785 JSON out, and a strict way back in.

``decode_canonical`` accepts a document only if it is, byte for byte, the encoding of what it parses
to: this alone excludes duplicate keys, unknown fields, odd white space and odd number spellings.

What RFC 8785 is, the library ``rfc8785`` says. ``msgspec`` writes the same bytes several times faster once
what the two write differently is out of the way; anything doubtful goes to the library.
"""

from __future__ import annotations

import hashlib
import re
from types import NoneType
from typing import Any, Final, TypeVar

import msgspec
import rfc8785

from edgeproof.contract.errors import Refused

T = TypeVar("T")

_LARGEST: Final = 2**53 - 1
_SAME_IN_BOTH: Final[frozenset[type]] = frozenset({str, bool, NoneType})
_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_ASTRAL: Final = re.compile(rb"[\xf0-\xf4]")


def canonical(value: Any) -> bytes:
    """RFC 8785 bytes of a struct or of plain JSON values.

    Raises ``ValueError`` for numbers that JSON cannot carry (NaN, infinities, beyond 2**53).
    """
    plain = msgspec.to_builtins(value)
    try:
        data = _ENCODER.encode(_settled(plain))
    except (TypeError, ValueError, RecursionError):
        return _by_the_library(value)
    # RFC 8785 sorts keys by UTF-16 units, msgspec by UTF-8 bytes: one order up to U+FFFF.
    if data.isascii() or not _ASTRAL.search(data):
        return data
    return _by_the_library(value)


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest_of(value: Any) -> str:
    """SHA-256 of the canonical bytes."""
    return sha256_hex(canonical(value))


def decode_canonical(data: bytes, type_: type[T], *, what: str) -> T:
    """Parse ``data`` as ``type_``, demanding canonical bytes. Raises ``Refused`` (``not_canonical``)."""
    try:
        value = msgspec.json.decode(data, type=type_)
        same = canonical(value) == data
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Refused("not_canonical", f"{what}: {error}") from error
    if not same:
        raise Refused("not_canonical", f"{what}: the bytes are not the canonical encoding of their content")
    return value


def round6(value: float) -> float:
    """``value`` to 6 significant digits, as every float in a signed payload is kept (DESIGN 9)."""
    return float(f"{value:.6g}")


def _by_the_library(value: Any) -> bytes:
    try:
        return rfc8785.dumps(msgspec.to_builtins(value))
    except rfc8785.CanonicalizationError as error:
        raise ValueError(f"not canonically encodable: {error}") from error


def _settled(value: Any) -> Any:
    """Plain JSON values of which msgspec writes RFC 8785; dictionaries are changed in place.

    Raises ``TypeError`` or ``ValueError`` for what only the library may judge.
    """
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            inner = type(item)
            if inner is str or inner is NoneType or inner is bool:
                continue
            if inner is not int or not -_LARGEST <= item <= _LARGEST:
                value[key] = _settled(item)
        return value
    if kind is tuple or kind is list:
        return _settled_items(value)
    if kind is float:
        return _number(value)
    if kind in _SAME_IN_BOTH or (kind is int and -_LARGEST <= value <= _LARGEST):
        return value
    raise TypeError(f"{kind} is for the library")


def _settled_items(values: list[Any] | tuple[Any, ...]) -> list[Any] | tuple[Any, ...]:
    """Raw data is lists of a hundred thousand numbers of one type: those are looked at as a whole."""
    kinds: set[type] = set(map(type, values))
    if kinds <= _SAME_IN_BOTH:
        return values
    if kinds == {int} and min(values) >= -_LARGEST and max(values) <= _LARGEST:
        return values
    if kinds == {float}:
        return list(map(_number, values))
    return list(map(_settled, values))


def _number(value: float) -> int | float | msgspec.Raw:
    """Both write the shortest digits that read back as ``value``, and place point and exponent alike save
    in whole numbers (msgspec: ``1.0``) and from 1e-6 up to 1e-5."""
    size = abs(value)
    if value.is_integer():
        if size <= _LARGEST:
            return int(value)
    elif 1e-5 <= size < _LARGEST or size < 1e-6:
        return value
    # Infinities and NaN come here too (no comparison above holds for them) and are refused.
    return msgspec.Raw(rfc8785.dumps(value))
