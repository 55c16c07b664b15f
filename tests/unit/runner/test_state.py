"""What a runner leaves about itself: whole, only when it changed, and never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeproof.runner.home import RunnerHome
from edgeproof.runner.state import Joined, StateFile, is_running, keep_joined, read_joined, read_state


def test_what_was_told_is_read(home: RunnerHome) -> None:
    told = StateFile(home.state, "rlimit")
    told.tell(runs_done=2)
    state = read_state(home)
    assert state is not None
    assert (state.runs_done, state.isolation, state.run) == (2, "rlimit", None)


def test_the_next_process_still_knows_when_the_control_plane_was_last_heard(home: RunnerHome) -> None:
    then = "2026-01-01T00:00:00Z"
    StateFile(home.state, "none").tell(last_contact_at=then, runs_done=2, standing="quarantined")
    StateFile(home.state, "none").tell(draining=False)
    state = read_state(home)
    assert state is not None
    assert (state.last_contact_at, state.runs_done, state.standing) == (then, 0, None)


def test_only_a_change_is_written(home: RunnerHome) -> None:
    told = StateFile(home.state, "none")
    told.tell(runs_done=1)
    home.state.unlink()
    told.tell(runs_done=1)
    assert read_state(home) is None
    told.tell(runs_done=2)
    assert read_state(home) is not None


def test_a_note_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    StateFile(tmp_path / "no such folder" / "state.json", "none").tell(runs_done=1)


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"server": "\xff"}', b'{"isolation": "\xff"}'])
def test_damaged_notes_are_none(home: RunnerHome, damage: bytes) -> None:
    home.state.write_bytes(damage)
    home.joined.write_bytes(damage)
    assert read_state(home) is None
    assert read_joined(home) is None


def test_what_was_joined_is_kept(home: RunnerHome) -> None:
    joined = Joined(
        server=f"http://127.0.0.1:1#sha256:{'0' * 64}", runner_id="runner-1", joined_at="2026-01-01T00:00:00Z"
    )
    keep_joined(home, joined)
    assert read_joined(home) == joined


def test_a_home_that_is_held_is_a_running_runner(home: RunnerHome) -> None:
    assert not is_running(home)
    with home.sole_owner():
        assert is_running(home)
    assert not is_running(home)
