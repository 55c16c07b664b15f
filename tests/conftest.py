"""What tests of every kind share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# A machine that stalls is no finding; all else stays as Hypothesis has it here or in CI.
settings.register_profile(
    "edgeproof", settings.default, deadline=None, suppress_health_check=(HealthCheck.too_slow,)
)
settings.load_profile("edgeproof")


@pytest.fixture(scope="session")
def fixture_file() -> Callable[[str], Any]:
    """Reads ``tests/fixtures/<name>.json``, afresh at each call."""

    def read(name: str) -> Any:
        return json.loads((Path(__file__).parent / "fixtures" / f"{name}.json").read_text(encoding="utf-8"))

    return read
