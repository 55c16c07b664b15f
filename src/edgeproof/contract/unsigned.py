"""The way in for unsigned JSON values: form, bounds and fit values, before anything reads them."""

from __future__ import annotations

import math
import re
from typing import Any, Final, TypeVar

import msgspec

from edgeproof.contract.errors import FieldError, Refused

T = TypeVar("T")

MAX_DEPTH: Final = 64
MAX_INTEGER: Final = 2**53 - 1
_PATH: Final = re.compile(r" - at `(?P<path>[^`]*)`$")


def read_unsigned(value: Any, type_: type[T], *, what: str, code: str = "invalid_request") -> T:
    """``value`` (as JSON decodes) as ``type_``; unknown fields are ignored.

    Raises ``Refused`` (``code``) naming the place: wrong types are refused and never converted, so that
    ``"fast"``, ``"12"`` and ``true`` are no numbers. NaN, infinities, integers that JSON does not carry
    exactly and NUL characters are refused everywhere.
    """
    if odd := _unfit(value, "$", 0):
        raise _refused(code, what, *odd)
    try:
        return msgspec.convert(value, type_, strict=True)
    except msgspec.ValidationError as error:
        message = str(error)
        found = _PATH.search(message)
        raise _refused(code, what, found["path"] if found else "$", _PATH.sub("", message)) from error


def _refused(code: str, what: str, path: str, message: str) -> Refused:
    return Refused(code, f"{what}: {path}: {message}", errors=(FieldError(path=path, message=message),))


def _unfit(value: Any, path: str, depth: int) -> tuple[str, str] | None:
    if depth > MAX_DEPTH:
        return path, "nested too deeply"
    if isinstance(value, float) and not math.isfinite(value):
        return path, "a number must be finite"
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return path, "an integer beyond 2**53 - 1 is not exact in JSON"
    if isinstance(value, str) and "\0" in value:
        return path, "a NUL character is not taken in text"
    inside: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        if any("\0" in key for key in value):
            return path, "a NUL character is not taken in a key"
        inside = [(f"{path}.{key}", one) for key, one in value.items()]
    elif isinstance(value, list | tuple):
        inside = [(f"{path}[{index}]", one) for index, one in enumerate(value)]
    return next((odd for where, one in inside if (odd := _unfit(one, where, depth + 1))), None)
