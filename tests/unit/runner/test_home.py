"""The runner's folder: private, one key for ever, one owner at a time."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from edgeproof.contract.errors import Refused
from edgeproof.runner.home import RunnerHome, write_private


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    first = RunnerHome(tmp_path / "home").signing_key()
    assert RunnerHome(tmp_path / "home").signing_key().public == first.public
    assert stat.S_IMODE((tmp_path / "home" / "runner.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", [b"", b"k" * 31, b"k" * 33])
def test_a_damaged_key_is_named_with_its_remedy_and_kept(tmp_path: Path, damage: bytes) -> None:
    home = RunnerHome(tmp_path)
    home.key.write_bytes(damage)
    with pytest.raises(Refused, match="restore it from a backup, or remove it and join anew") as refused:
        home.signing_key()
    assert refused.value.code == "runner_key_damaged"
    assert str(home.key) in refused.value.detail
    assert home.key.read_bytes() == damage


@pytest.mark.parametrize("part", ["", "outbox"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, part: str) -> None:
    root = tmp_path / "file"
    (root / part).parent.mkdir(exist_ok=True)
    (root / part).write_text("in the way")
    with pytest.raises(Refused) as refused:
        RunnerHome(root / "home" if not part else root)
    assert refused.value.code == "home_unusable"
    assert str(root) in refused.value.detail


def test_a_folder_behind_links_in_a_circle_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").symlink_to(tmp_path / "home")
    with pytest.raises(Refused, match=str(tmp_path / "home")) as refused:
        RunnerHome(tmp_path / "home")
    assert refused.value.code == "home_unusable"


def test_a_lock_a_key_and_work_that_are_no_such_thing_are_named(tmp_path: Path) -> None:
    home = RunnerHome(tmp_path)
    (tmp_path / "runner.lock").mkdir()
    with pytest.raises(Refused, match=r"Is a directory: .*runner\.lock") as lock, home.sole_owner():
        pass
    home.key.mkdir()
    with pytest.raises(Refused, match=r"Is a directory: .*runner\.key") as key:
        home.signing_key()
    home.work.rmdir()
    with pytest.raises(Refused, match=r"No such file or directory: .*work") as work:
        home.clear_work()
    assert {one.value.code for one in (lock, key, work)} == {"home_unusable"}


def test_what_fails_while_the_folder_is_held_is_told_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), RunnerHome(tmp_path).sole_owner():
        (tmp_path / "missing").read_bytes()


def test_a_folder_that_is_only_looked_at_stays_as_it_is(tmp_path: Path) -> None:
    RunnerHome(tmp_path, make=False)
    assert list(tmp_path.iterdir()) == []


def test_starts_are_counted_and_a_count_that_cannot_be_kept_is_none(tmp_path: Path) -> None:
    home = RunnerHome(tmp_path / "home")
    assert [home.count_start(), RunnerHome(tmp_path / "home").count_start()] == [1, 2]
    home.root.joinpath("starts").write_bytes(b"")
    assert home.count_start() == 1
    shutil.rmtree(home.root)
    assert home.count_start() is None


def test_leftovers_of_an_earlier_process_go(tmp_path: Path) -> None:
    home = RunnerHome(tmp_path)
    (home.new_workspace() / "file").write_text("left")
    home.clear_work()
    assert list(home.work.iterdir()) == []


def test_what_is_hidden_must_hold_the_home(tmp_path: Path) -> None:
    assert RunnerHome(tmp_path / "a" / "home", hide=tmp_path / "a").hidden == tmp_path / "a"
    with pytest.raises(ValueError, match="does not lie in"):
        RunnerHome(tmp_path / "a", hide=tmp_path / "b")


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    with (
        RunnerHome(tmp_path).sole_owner(),
        pytest.raises(Refused, match="another runner"),
        RunnerHome(tmp_path).sole_owner(),
    ):
        pass
    with RunnerHome(tmp_path).sole_owner():
        pass


def test_a_private_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_private(path, b"one")
    write_private(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_private(tmp_path / "folder", b"three")
    assert {one.name for one in tmp_path.iterdir()} == {"file", "folder"}


def test_a_home_that_can_be_written_is_fit(tmp_path: Path) -> None:
    home = RunnerHome(tmp_path)
    (home.inputs / "kept").write_text("kept")
    assert home.unfit() is None
    assert (home.inputs / "kept").exists()


def test_a_home_without_room_says_so_after_it_gave_up_its_caches(tmp_path: Path) -> None:
    home = RunnerHome(tmp_path)
    (home.inputs / "kept").write_text("kept")
    (home.root / "health").mkdir()
    reason = home.unfit()
    assert reason is not None
    assert "cannot be written" in reason
    assert list(home.inputs.iterdir()) == []
