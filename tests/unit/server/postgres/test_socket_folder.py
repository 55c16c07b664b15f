"""Where the socket goes, and what is never removed."""

import stat
from pathlib import Path

import pytest

from edgeproof.server.postgres.socket_folder import fits, make_socket_folder, remove_socket_folder


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/" + "d" * 88, True),
        ("/" + "d" * 93, False),
        ("/" + "ü" * 47, False),
        ("/with space", True),
        ("/a,b", False),
        ("/not-utf8-\udcff", False),
    ],
)
def test_which_folders_fit(folder: str, expected: bool) -> None:
    assert fits(Path(folder)) is expected


def test_a_long_data_directory_gets_a_private_folder_that_can_be_removed(tmp_path: Path) -> None:
    long = tmp_path / ("d" * 200)
    long.mkdir()
    made = make_socket_folder(long)
    try:
        assert not made.is_relative_to(long)
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
        remove_socket_folder(made, owners={made.stat().st_uid + 1})
        assert made.exists(), "another user's folder was removed"
    finally:
        remove_socket_folder(made, owners={made.stat().st_uid})
    assert not made.exists()


@pytest.mark.parametrize(("name", "mode"), [("else", 0o700), ("socket", 0o755)])
def test_a_record_that_names_another_folder_removes_nothing(tmp_path: Path, name: str, mode: int) -> None:
    folder = tmp_path / name
    folder.mkdir()
    folder.chmod(mode)
    remove_socket_folder(folder, owners={folder.stat().st_uid})
    assert folder.exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    (tmp_path / "socket").symlink_to(target)
    remove_socket_folder(tmp_path / "socket", owners={target.stat().st_uid})
    assert target.exists()
