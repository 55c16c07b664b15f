"""A runner's token is ours or it is nothing."""

from __future__ import annotations

import pytest

from edgeproof.contract.errors import Refused
from edgeproof.server.plane.runner_token import RunnerToken, open_token, seal_token

SECRET = b"s" * 32
TOKEN = RunnerToken(runner_id="runner-1", public_key="k" * 44, expires_at=1_800_000_000)


def test_a_token_opens_to_what_was_sealed() -> None:
    assert open_token(SECRET, seal_token(SECRET, TOKEN)) == TOKEN


def test_every_character_of_a_token_counts() -> None:
    sealed = seal_token(SECRET, TOKEN)
    for position in range(len("r1."), len(sealed)):
        swapped = "A" if sealed[position] != "A" else "B"
        with pytest.raises(Refused) as refused:
            open_token(SECRET, sealed[:position] + swapped + sealed[position + 1 :])
        assert refused.value.code == "unauthenticated"


def test_another_control_planes_token_is_refused() -> None:
    with pytest.raises(Refused):
        open_token(b"t" * 32, seal_token(SECRET, TOKEN))


@pytest.mark.parametrize("text", ["r1.", "r1..", "r1.é.é", "r1." + "." * 200])
def test_other_texts_are_no_tokens(text: str) -> None:
    with pytest.raises(Refused) as refused:
        open_token(SECRET, text)
    assert refused.value.code == "unauthenticated"
