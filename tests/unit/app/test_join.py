"""What keeps a machine from joining before it dials anybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeproof.app.join import join_control_plane
from edgeproof.cli.use_cases import JoinOptions
from edgeproof.contract.errors import Refused
from edgeproof.runner.home import RunnerHome

SERVER = f"http://127.0.0.1:9#sha256:{'0' * 64}"


def refusal(home: Path) -> Refused:
    with pytest.raises(Refused) as refused:
        join_control_plane(JoinOptions(server=SERVER, home=home))
    return refused.value


def test_a_damaged_key(tmp_path: Path) -> None:
    RunnerHome(tmp_path).key.write_bytes(b"")
    assert refusal(tmp_path).code == "runner_key_damaged"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert refusal(tmp_path / "file" / "home").code == "home_unusable"


def test_a_file_of_the_folder_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "joined.json").mkdir()
    assert refusal(tmp_path).code == "home_unusable"
