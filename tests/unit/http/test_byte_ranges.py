"""RFC 9110 §14.1.2, for one range."""

from __future__ import annotations

import pytest

from edgeproof.contract.errors import Refused
from edgeproof.http.byte_ranges import byte_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 100)),
        ("bytes=99-", (99, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=10-1000", (10, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        (" bytes = 1 - 2 ", (1, 3)),
        ("bytes=20-10", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=٣-٤", None),
    ],
)
def test_range(header: str | None, expected: tuple[int, int] | None) -> None:
    assert byte_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=500-600", "bytes=-0"])
def test_outside(header: str) -> None:
    with pytest.raises(Refused) as caught:
        byte_range(header, 100)
    assert caught.value.code == "range_not_satisfiable"


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=-5"])
def test_an_empty_artifact_has_no_range(header: str) -> None:
    with pytest.raises(Refused):
        byte_range(header, 0)
