"""From bytes to a typed message, strictly: nesting, values a database cannot hold, then the form.

Strict means no coercion: Litestar's own signature model would take ``"3"`` for 3.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any, Final, TypeVar

import msgspec
from litestar import Request
from litestar.datastructures import State

from edgeproof.contract.errors import FieldError, Refused
from edgeproof.server.plane.control_plane import Principal

T = TypeVar("T")

MAX_INTEGER: Final = 2**53 - 1
"""The largest that RFC 8785 takes: of two greater ones, JSON might not tell which is meant."""
_LONG_NUMBER: Final = re.compile(rb"[0-9]{16}")
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NOT_MARKS: Final = bytes(one for one in range(256) if one not in b'"[]{}')


def nesting(body: bytes) -> int:
    """How deeply arrays and objects nest in JSON text, without parsing it; strings do not count.

    For text that is not JSON the answer is right as far as it is, which is as far as a parser gets.
    """
    # Two quotes side by side change nothing between them and behind them.
    marks = _unescaped(body).translate(None, _NOT_MARKS).replace(b'""', b"")
    brackets = b"".join(marks.split(b'"')[::2]).translate(_STEPS)
    return max(accumulate(memoryview(brackets).cast("b"), initial=0))


def check_depth(body: bytes, max_depth: int) -> None:
    """Raises ``Refused`` (``body_too_deep``)."""
    if nesting(body) > max_depth:
        raise Refused("body_too_deep", f"at most {max_depth} levels of nesting are taken")


def decode(body: bytes, type_: type[T]) -> T:
    """``body`` as ``type_``. Raises ``Refused`` (``invalid_json``, ``invalid_request`` with the path)."""
    try:
        plain = msgspec.json.decode(body)
    except msgspec.ValidationError as error:
        raise Refused("invalid_request", str(error)) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("invalid_json", str(error)) from error
    if _suspect(body):
        _check_values(plain)
    try:
        return msgspec.convert(plain, type_)
    except msgspec.ValidationError as error:
        violation = field_error(str(error))
        raise Refused("invalid_request", str(error), errors=(violation,)) from error


def field_error(message: str) -> FieldError:
    """msgspec's ``<what> - at `$.path``` taken apart; the path is ``$`` where it names none."""
    what, at, path = message.rpartition(" - at `")
    return FieldError(path=path.rstrip("`"), message=what) if at else FieldError(path="$", message=message)


def _unescaped(body: bytes) -> bytes:
    """Without escaped backslashes and quotes: what quotes are left begin and end strings."""
    return body.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in body else body


def _suspect(body: bytes) -> bool:
    """Whether JSON text can hold an unfit value. Strings are jumped over: most of a batch of results is
    their base64."""
    if rb"\u0000" in body:
        return True
    return _LONG_NUMBER.search(b"".join(_unescaped(body).split(b'"')[::2])) is not None


def _check_values(document: Any) -> None:
    """Refuses what JSON can spell and PostgreSQL's jsonb or RFC 8785 cannot hold."""
    found = _unfit(document)
    if found is None:
        return
    path, is_text = found
    if is_text:
        _refuse(f"${path}".replace("\0", "\N{REPLACEMENT CHARACTER}"), "a NUL character is not taken in text")
    _refuse(f"${path}", "an integer beyond 2**53 - 1 is not exact in JSON")


def _unfit(value: Any) -> tuple[str, bool] | None:
    """Path below ``value`` of what is unfit, and whether it is text; spelt out on the way back only."""
    if isinstance(value, str):
        return ("", True) if "\0" in value else None
    if isinstance(value, int):
        return ("", False) if abs(value) > MAX_INTEGER else None
    if isinstance(value, list):
        for index, child in enumerate(value):
            if (found := _unfit(child)) is not None:
                return f"[{index}]{found[0]}", found[1]
    elif isinstance(value, dict):
        for key, child in value.items():
            if "\0" in key:
                return f".{key} (a key)", True
            if (found := _unfit(child)) is not None:
                return f".{key}{found[0]}", found[1]
    return None


def _refuse(path: str, message: str) -> None:
    raise Refused(
        "invalid_request", f"{message} - at `{path}`", errors=(FieldError(path=path, message=message),)
    )


class StrictRequest(Request[Principal, str, State]):
    """A request whose ``data`` is decoded here rather than by the signature model."""

    async def json(self) -> Any:
        expected = self.route_handler.parsed_data_field
        body = await self.body()
        return decode(body, object) if expected is None else decode(body, expected.annotation)
