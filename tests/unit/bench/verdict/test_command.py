from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeproof.bench.verdict.command import verdict
from edgeproof.bench.verdict.traces import appending

from .hand_made import recorded


@pytest.mark.parametrize(
    "words", [["--load"], ["--minutes", "60"], ["--resume"], ["--quick"], ["--traces", "other.jsonl"]]
)
def test_judging_takes_nothing_that_is_for_recording(tmp_path: Path, words: list[str]) -> None:
    """Not even what it would do anyway: the caller expects something else."""
    result = CliRunner().invoke(verdict, ["--judge", str(tmp_path / "traces.jsonl"), *words])
    assert result.exit_code == 2
    assert f"--judge records nothing: it takes no {words[0]}" in result.output


def test_judging_prints_the_table_or_the_page(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    with appending(path, resume=False) as log:
        for record in recorded(rounds=2):
            log.append(record)
    table = CliRunner().invoke(verdict, ["--judge", str(path)], catch_exceptions=False)
    page = CliRunner().invoke(verdict, ["--judge", str(path), "--markdown"], catch_exceptions=False)
    assert (table.exit_code, page.exit_code) == (0, 0)
    assert page.output.startswith("# How often the verdict is wrong")
    assert table.output.strip() in page.output
