"""The fast canonical bytes are those of ``rfc8785``; what is read and refused is what was before."""

from __future__ import annotations

import enum
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.contract.canonical import canonical, decode_canonical
from edgeproof.contract.envelope import Envelope, peek_payload
from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import Policy
from edgeproof.contract.samples import RawQuality, RawSamples
from edgeproof.contract.statements import (
    BuildStatement,
    DecisionEnvelopeStatement,
    JobSpecStatement,
    MeasurementStatement,
)
from edgeproof.testing import plain_signing

LARGEST = 2**53 - 1


class Colour(enum.Enum):
    RED = "red"


class Mixed(msgspec.Struct, tag="mixed", omit_defaults=True):
    b: Any
    a: Any = None
    renamed: Any = msgspec.field(default=0, name="\ue000")


#: With lone surrogates, controls, and both sides of the place where UTF-16 and UTF-8 sort otherwise.
TEXTS = st.text(
    st.characters(exclude_categories=())
    | st.sampled_from('\0\x1f\x7f"\\/\b\u2028\u2029\ud7ff\ud800\udfff\ue000\uffff\U00010000\U0010ffff'),
    max_size=6,
)
INTEGERS = st.integers() | st.sampled_from([1, -1]).flatmap(
    lambda sign: st.integers(LARGEST - 2, LARGEST + 2).map(lambda one: sign * one)
)
FLOATS = (
    st.floats()
    | st.integers(-(10**22), 10**22).map(float)
    | st.floats(1e-8, 1e-3)
    | st.floats(-(2.0**54), 2.0**54)
    | st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
)
OTHERS = st.binary(max_size=4) | st.just(Colour.RED) | st.frozensets(st.integers(0, 3), max_size=1)
SCALARS = st.none() | st.booleans() | INTEGERS | FLOATS | TEXTS
VALUES = st.recursive(
    SCALARS | OTHERS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(INTEGERS, max_size=5).map(tuple)
        | st.lists(FLOATS, max_size=5)
        | st.lists(TEXTS, max_size=3)
        | st.dictionaries(TEXTS, inner, max_size=5)
        | st.dictionaries(st.integers(0, 9) | TEXTS, inner, max_size=2)
        | st.builds(Mixed, inner, inner, inner)
    ),
    max_leaves=20,
)


def outcome(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What it gives or how it refuses."""
    try:
        return call(*arguments, **named)
    except Refused as error:
        return error.code, error.detail
    except (ValueError, TypeError) as error:
        return type(error), str(error)


@given(VALUES)
def test_the_bytes_are_the_librarys(value: Any) -> None:
    before = repr(value)
    assert outcome(canonical, value) == outcome(plain_signing.canonical, value)
    assert repr(value) == before, "the value was changed"


@given(FLOATS)
def test_a_number_is_written_as_the_library_does(value: float) -> None:
    assert outcome(canonical, value) == outcome(plain_signing.canonical, value)


def test_numbers_of_every_magnitude_are_written_as_the_library_does() -> None:
    draw = random.Random(1)
    for digits in range(1, 18):
        for exponent in range(-330, 308):
            value = float(f"{draw.randrange(10 ** (digits - 1), 10**digits)}e{exponent - digits}")
            assert canonical(value) == plain_signing.canonical(value)


def test_every_character_is_written_as_the_library_does() -> None:
    plane = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    for value in ("".join(plane), {one: one for one in plane}, dict.fromkeys(reversed(plane), 1)):
        assert canonical(value) == plain_signing.canonical(value)
    astral = [*map(chr, range(0x10000, 0x110000, 0x3FF)), *plane[::97]]
    assert canonical(dict.fromkeys(astral, 1)) == plain_signing.canonical(dict.fromkeys(astral, 1))


# --- reading -------------------------------------------------------------------------------------

VECTORS = Path(__file__).parents[2] / "contract" / "vectors" / "valid"
STATEMENTS = {
    "job-spec": JobSpecStatement,
    "build": BuildStatement,
    "measurement": MeasurementStatement,
    "decision": DecisionEnvelopeStatement,
}
TYPES: dict[str, Any] = {"policy": Policy, "samples": RawSamples, "quality": RawQuality}
DOCUMENTS: list[tuple[bytes, Any]] = [
    *((peek_payload((VECTORS / f"{kind}.json").read_bytes())[1], one) for kind, one in STATEMENTS.items()),
    *(((VECTORS / f"{kind}.json").read_bytes(), one) for kind, one in TYPES.items()),
    ((VECTORS / "job-spec.json").read_bytes(), Envelope),
]
PIECES = [b" ", b"\n", b",", b"0", b"1", b"-", b".", b".0", b"e2", b"E0", b'"', b"\\", b"{", b"]", b"\xff",
          b"\xf0\x90\x80\x80", b"null", b"\\u0061", b"9" * 20]  # fmt: skip


def read_alike(data: bytes, type_: Any) -> None:
    assert outcome(decode_canonical, data, type_, what="it") == outcome(
        plain_signing.decode_canonical, data, type_, what="it"
    )


@given(st.sampled_from(DOCUMENTS), st.data())
def test_changed_bytes_are_read_or_refused_alike(document: tuple[bytes, Any], data: st.DataObject) -> None:
    text, type_ = document
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        end = at + data.draw(st.integers(0, 2))
        text = text[:at] + data.draw(st.sampled_from(PIECES) | st.binary(max_size=1)) + text[end:]
    read_alike(text, type_)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, child in inner for found in paths(child, (*path, key)))]


PARSED = [(json.loads(text), type_, paths(json.loads(text))[1:]) for text, type_ in DOCUMENTS]


@given(st.sampled_from(range(len(PARSED))), st.data(), st.booleans())
def test_changed_values_are_read_or_refused_alike(which: int, data: st.DataObject, written: bool) -> None:
    """Values of other types and magnitudes, missing and surplus ones; in canonical bytes or nearly."""
    original, type_, places = PARSED[which]
    value = json.loads(json.dumps(original))
    *road, last = data.draw(st.sampled_from(places))
    parent = value
    for step in road:
        parent = parent[step]
    if data.draw(st.booleans()):
        parent[last] = data.draw(SCALARS | st.lists(SCALARS, max_size=2))
    elif data.draw(st.booleans()) and isinstance(parent, dict):
        parent[data.draw(TEXTS)] = data.draw(SCALARS)
    else:
        del parent[last]
    try:
        text = plain_signing.canonical(value) if written else json.dumps(value, sort_keys=True).encode()
    except ValueError:
        return
    read_alike(text, type_)


NUMBERS = ["0", "-0", "1", "1.0", "-1.50", "1e2", "100", "1E2", "1e400", "0.1", "1e-6", "0.000001", "0.00001",
           "1e-5", "1e-7", "1e21", "1e+21", "1e16", "10000000000000000", str(LARGEST), str(LARGEST + 1),
           f"-{LARGEST}", "12345678901234567890", "9" * 5000, "01", "NaN"]  # fmt: skip
STRINGS = ['"a"', '"b"', '"\\u0061"', '"/"', '"\\/"', '"é"', '"\\u00e9"', '"\\n"', '"\\u000a"', '"\\u001F"',
           '"\\u001f"', '"\x7f"', '"\u2028"', '"\ue000"', '"\U00010000"', '"\\ud800\\udc00"', '"\\ud800"',
           '"']  # fmt: skip
TOKENS = st.sampled_from([*NUMBERS, *STRINGS, "true", "null"])
JSON_TEXTS = st.recursive(
    TOKENS,
    lambda inner: (
        st.builds(
            lambda parts, comma: f"[{comma.join(parts)}]",
            st.lists(inner, max_size=4),
            st.sampled_from([",", ", "]),
        )
        | st.lists(st.tuples(st.sampled_from(STRINGS), inner), max_size=3).map(
            lambda parts: "{" + ",".join(f"{key}:{value}" for key, value in parts) + "}"
        )
    ),
    max_leaves=8,
)


@given(JSON_TEXTS)
def test_any_text_is_read_or_refused_alike(text: str) -> None:
    read_alike(text.encode(), Any)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("type_", [int, float, int | None, float | str, list[float], dict[str, int]])
def test_a_number_is_read_or_refused_alike(number: str, type_: Any) -> None:
    for text in (number, f"[{number}]", f'{{"a":{number}}}', f'"{number}"'):
        read_alike(text.encode(), type_)


@pytest.mark.parametrize("depth", [10, 200, 20_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_is_read_or_refused_alike(depth: int, opening: bytes, closing: bytes) -> None:
    text = opening * depth + b"1" + closing * depth
    told = [outcome(one, text, Any, what="it") for one in (decode_canonical, plain_signing.decode_canonical)]
    assert repr(told[0]) == repr(told[1])
    assert isinstance(told[0], tuple) == (depth > 1000)
