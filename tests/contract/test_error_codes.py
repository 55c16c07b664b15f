"""``docs/errors.md`` is the registry of codes, in words for people."""

from __future__ import annotations

import re
from pathlib import Path

from edgeproof.contract.errors import CODES

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `(?P<code>\w+)` \| (?P<status>\d+) \| (?P<title>.+) \|$", re.MULTILINE)
RAISED = re.compile(r"\b(?:Refused|Unavailable|StageFailed)\(\s*\"(?P<code>\w+)\"")


def test_the_document_lists_every_code_and_nothing_else() -> None:
    documented = [
        (row["code"], int(row["status"]), row["title"])
        for row in ROW.finditer((ROOT / "docs" / "errors.md").read_text())
    ]
    assert documented == [(name, code.status, code.title) for name, code in CODES.items()]


def test_every_code_that_the_source_raises_is_registered() -> None:
    raised = {
        match["code"] for file in (ROOT / "src").rglob("*.py") for match in RAISED.finditer(file.read_text())
    }
    assert len(raised) > 20
    assert raised <= set(CODES)
