from __future__ import annotations

from pathlib import Path

import pytest

from edgeproof.bench.verdict.traces import appending, read
from edgeproof.contract.errors import Refused

from .hand_made import recorded, session, timed


def write(path: Path) -> int:
    records = [*recorded(rounds=2), timed(9.0)]
    with appending(path, resume=False) as log:
        for record in records:
            log.append(record)
    assert list(read(path)) == records
    return len(records)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert write(tmp_path / "new folder" / "traces.jsonl") == 20


@pytest.mark.parametrize("torn", [b"{", b'{"kind":"rotation"', b"x" * 200_000])
def test_a_torn_line_is_not_read_and_cut_off_before_more_is_appended(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "traces.jsonl"
    count = write(path)
    with path.open("ab") as file:
        file.write(torn)
    assert len(list(read(path))) == count
    with appending(path, resume=True) as log:
        log.append(timed(1.0))
    assert [*read(path)][count:] == [timed(1.0)]


def test_a_file_of_nothing_but_a_torn_line_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_bytes(b'{"kind":"ses')
    with appending(path, resume=True) as log:
        log.append(session())
    assert list(read(path)) == [session()]


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    count = write(path)
    with pytest.raises(Refused, match="--resume") as caught, appending(path, resume=False):
        pass
    assert caught.value.code == "conflict"
    assert len(list(read(path))) == count


def test_a_file_has_one_recorder_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    count = write(path)
    with appending(path, resume=True) as log:
        with pytest.raises(Refused, match="another recorder") as caught, appending(path, resume=True):
            pass
        log.append(timed(1.0))
    assert caught.value.code == "conflict"
    with appending(path, resume=True):
        assert len(list(read(path))) == count + 1


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_bytes(b'{"kind":"nonsense"}\n')
    with pytest.raises(Refused, match="line 1"):
        list(read(path))
    with pytest.raises(Refused) as caught:
        list(read(tmp_path / "none"))
    assert caught.value.code == "artifact_missing"
