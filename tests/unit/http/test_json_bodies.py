"""Strict decoding: nesting without parsing, values a database cannot hold, and the form."""

from __future__ import annotations

import json
import tracemalloc

import msgspec
import pytest

from edgeproof.contract.canonical import canonical
from edgeproof.contract.errors import FieldError, Refused
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.http.json_bodies import check_depth, decode, field_error, nesting


class Sample(msgspec.Struct, frozen=True):
    count: int
    anything: object = None


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        (b"", 0),
        (b"1", 0),
        (b"[]", 1),
        (b'{"a":[{"b":[]}]}', 4),
        (b"[],[],[]", 1),
        (b'"[[[["', 0),
        (rb'"\"[[["', 0),
        (rb'"\\",[[1]]', 2),
        (rb'["\\\"[", {"[": "]"}]', 2),
        (b'["\n[", [[]]]', 3),
        (b'["never closed [[[[', 1),
        (b"]]]][", 0),
    ],
)
def test_nesting(text: bytes, depth: int) -> None:
    assert nesting(text) == depth


def test_two_hundred_thousand_brackets_are_too_deep() -> None:
    with pytest.raises(Refused) as caught:
        check_depth(b"[" * 200_000, 64)
    assert caught.value.code == "body_too_deep"


def test_sixty_four_levels_are_taken_and_sixty_five_are_not() -> None:
    check_depth(b"[" * 64 + b"]" * 64, 64)
    with pytest.raises(Refused):
        check_depth(b"[" * 65 + b"]" * 65, 64)


def test_a_message_is_decoded() -> None:
    assert decode(b'{"count": 3, "unknown": true}', Sample) == Sample(3)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b'{"count": NaN}', "invalid_json"),
        (b'"\xff"', "invalid_json"),
        (rb'{"count": 1, "anything": "\ud800"}', "invalid_json"),
        (b'{"count": 1, "anything": "\x00"}', "invalid_json"),
        (b'{"count": 1e400}', "invalid_request"),
        (b'{"count": "3"}', "invalid_request"),
        (b"[]", "invalid_request"),
        (rb'{"count": 1, "anything": ["a\u0000b"]}', "invalid_request"),
        (rb'{"count": 1, "anything": {"\u0000": 1}}', "invalid_request"),
        (b'{"count": 1, "anything": 9007199254740992}', "invalid_request"),
        (b'{"count": 1, "anything": [{"a": -9007199254740992}]}', "invalid_request"),
        (rb'{"count": 1, "anything": {"a": [{"\u0000": 1}]}}', "invalid_request"),
        (b'{"count": 1, "anything": -' + b"9" * 400 + b"}", "invalid_request"),
        (rb'{"count": 1, "anything": ["\"", 9007199254740992]}', "invalid_request"),
        (rb'{"count": 1, "anything": ["\\", "\\\"", 9007199254740992]}', "invalid_request"),
    ],
)
def test_what_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(Refused) as caught:
        decode(body, Sample)
    assert caught.value.code == code


def test_a_violation_names_its_path() -> None:
    with pytest.raises(Refused) as caught:
        decode(b'{"options": {}, "model_path": 5}', AnalyzeRequest)
    assert caught.value.errors == (
        FieldError(path="$.model_path", message="Expected `str | null`, got `int`"),
    )


def test_a_nul_names_its_path() -> None:
    body = json.dumps({"options": {"notes": ["fine", "a\0b"]}}).encode()
    with pytest.raises(Refused) as caught:
        decode(body, AnalyzeRequest)
    assert [one.path for one in caught.value.errors] == ["$.options.notes[1]"]


def test_what_is_taken_can_be_signed() -> None:
    body = json.dumps({"count": 1, "anything": [2**53 - 1, 1 - 2**53, r"a\u0000b", 0.12345678901234567]})
    assert canonical(decode(body.encode(), Sample))


def test_a_large_body_is_read_without_a_text_for_each_of_its_values() -> None:
    body = b'{"count": 1, "anything": [' + b"0," * 200_000 + b"9007199254740991]}"
    tracemalloc.start()
    try:
        decode(body, Sample)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_message_without_a_path_is_about_the_whole() -> None:
    assert field_error("odd") == FieldError(path="$", message="odd")
