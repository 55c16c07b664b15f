"""A kept result as it is printed."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from edgeproof.cli.kept_results import echo_result
from edgeproof.contract.stored_results import ResultDocument

EXAMPLE = Path(__file__).parents[3] / "openapi" / "examples" / "getResult.json"


def test_a_percentile_without_its_blocks_is_told_to_be_not_certified(
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept = msgspec.convert(json.loads(EXAMPLE.read_text())["answer"], ResultDocument)
    echo_result(kept, as_json=False)
    shown = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert shown["p95_ms"].endswith("(not certified)")
    assert shown["p99_ms"].endswith("(not certified)")
    assert "certified" not in shown["mean_ms"] + shown["p50_ms"]
    echo_result(kept, as_json=True)
    assert json.loads(capsys.readouterr().out)["p99_ms"] == kept.p99_ms
