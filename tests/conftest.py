"""What tests of every kind share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def fixture_file() -> Callable[[str], Any]:
    """Reads ``tests/fixtures/<name>.json``, afresh at each call."""

    def read(name: str) -> Any:
        return json.loads((Path(__file__).parent / "fixtures" / f"{name}.json").read_text(encoding="utf-8"))

    return read
