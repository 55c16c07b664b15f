"""No value that a database cannot hold gets past the quick look at a body, and no other is refused."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edgeproof.contract.errors import Refused
from edgeproof.http.json_bodies import MAX_INTEGER, decode

TEXTS = st.text(st.sampled_from('\0\\"{}[],:0ä') | st.characters(codec="utf-8"), max_size=20) | st.text(
    st.sampled_from("0123456789"), max_size=20
)
NUMBERS = st.integers(-9, 9) | st.integers(MAX_INTEGER - 1, MAX_INTEGER + 1) | st.integers(-(10**19), 10**19)
DOCUMENTS = st.recursive(
    st.none() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def unfit(value: Any) -> bool:
    if isinstance(value, dict):
        return any("\0" in key or unfit(child) for key, child in value.items())
    if isinstance(value, list):
        return any(map(unfit, value))
    return "\0" in value if isinstance(value, str) else value is not None and abs(value) > MAX_INTEGER


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 2]))
def test_exactly_the_unfit_are_refused(document: Any, ascii_only: bool, indent: int | None) -> None:
    body = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()
    try:
        taken = decode(body, object)
    except Refused as error:
        assert (error.code, unfit(document)) == ("invalid_request", True)
    else:
        assert taken == document
        assert not unfit(document)
