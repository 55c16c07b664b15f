"""Commands that rest on the control plane's key ask nobody else what it is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from edgeproof.cli import exits
from edgeproof.cli.main import cli

NOBODY = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    "words",
    [("audit", "verify"), ("fleet", "keys", "trust", "--out", "trust.json"), ("runner", "enrol")],
)
def test_without_a_pin_they_are_refused_before_anything_is_asked(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = [*words, "--server", NOBODY, "--token", "mine", "--data-dir", str(tmp_path)]
    told = CliRunner().invoke(cli, asked, obj=SimpleNamespace(token=None))
    assert told.exit_code == exits.ERROR
    assert "[fingerprint_required]" in told.stderr
    assert not (tmp_path / "trust.json").exists()
