"""The file of runner keys: what counts as a key, and what is said of one that does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeproof.app.static_keys import read_static_keys
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import Refused


def test_keys_comments_and_empty_lines(tmp_path: Path) -> None:
    one, two = SigningKey.generate().public, SigningKey.generate().public
    path = tmp_path / "keys"
    path.write_text(f"# the lab's own\n\n{one.base64}\n  {two.base64}\tthe board in the cellar\n")
    assert read_static_keys(path) == (one, two)
    path.write_text("")
    assert read_static_keys(path) == ()


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"\nbm90IGEga2V5\n", "keys, line 2"), (b"\xff", "cannot be read"), (bytes(5 << 20), "larger than")],
)
def test_what_is_no_list_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(Refused, match=told) as refused:
        read_static_keys(path)
    assert refused.value.code == "invalid_request"


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        read_static_keys(tmp_path / "none")
