"""A record survives the round trip; a damaged one counts as none."""

import stat
from pathlib import Path

import pytest

from edgeproof.server.postgres.processes import ProcessIdentity
from edgeproof.server.postgres.record import PostmasterRecord, read_record, write_record

RECORD = PostmasterRecord(ProcessIdentity(42, "boot", 4711), Path("/tmp/with space"))


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "postmaster.json"
    write_record(path, RECORD)
    write_record(path, RECORD)
    assert read_record(path) == RECORD
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"pid": "x"}', b"\xff\xfe"])
def test_a_damaged_record_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "record").write_bytes(content)
    assert read_record(tmp_path / "record") is None
    assert read_record(tmp_path / "absent") is None
