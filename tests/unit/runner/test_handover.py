"""Reading what an untrusted child left: nothing but regular files, of the workspace, within bounds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeproof.contract.canonical import canonical
from edgeproof.contract.errors import StageFailed
from edgeproof.contract.samples import RawSamples
from edgeproof.runner.handover import left_bytes, left_document, left_file


def invalid(caught: pytest.ExceptionInfo[StageFailed]) -> bool:
    return (caught.value.code, caught.value.fault) == ("result_invalid", "backend")


def test_bytes_up_to_the_bound(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert left_bytes(path, 5) == b"12345"
    with pytest.raises(StageFailed, match="larger than 4") as caught:
        left_bytes(path, 4)
    assert invalid(caught)


@pytest.mark.parametrize("plant", ["link", "pipe", "folder", "nothing"])
def test_anything_but_a_regular_file_is_refused(tmp_path: Path, plant: str) -> None:
    path, secret = tmp_path / "file", tmp_path / "secret"
    secret.write_text("secret")
    if plant == "link":
        path.symlink_to(secret)
    elif plant == "pipe":
        os.mkfifo(path)
    elif plant == "folder":
        path.mkdir()
    open_before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StageFailed) as caught:
        left_bytes(path, 100)
    assert invalid(caught)
    assert len(os.listdir("/proc/self/fd")) == open_before


@pytest.mark.parametrize("spelling", [b' {"pairs":[]}', b"{}", b"[", b"\xff", b"[" * 100_000])
def test_a_document_must_be_canonical_and_of_its_type(tmp_path: Path, spelling: bytes) -> None:
    good = canonical(RawSamples(schema_version="edgeproof-samples-v1", unit="ns", pairs=()))
    path = tmp_path / "samples.json"
    path.write_bytes(good)
    assert left_document(path, RawSamples, 1000) == good
    for data in (spelling, good + b"\n", good.replace(b"ns", b"ms")):
        path.write_bytes(data)
        with pytest.raises(StageFailed) as caught:
            left_document(path, RawSamples, 1_000_000)
        assert invalid(caught)


def test_a_file_must_lie_in_the_workspace(tmp_path: Path) -> None:
    workspace = tmp_path / "work"
    (workspace / "build").mkdir(parents=True)
    (workspace / "build" / "model").write_bytes(b"model")
    (tmp_path / "key").write_bytes(b"key")
    (workspace / "link").symlink_to(tmp_path / "key")
    (workspace / "inner").symlink_to(workspace / "build" / "model")
    (workspace / "up").symlink_to(tmp_path)
    assert left_file(workspace, "build/model", 5).read_bytes() == b"model"
    assert left_file(workspace, str(workspace / "build" / "model"), 5).read_bytes() == b"model"
    for name in ("link", "inner", "up/key", "../key", str(tmp_path / "key"), "build", "absent", "a\0b", ""):
        with pytest.raises(StageFailed) as caught:
            left_file(workspace, name, 100)
        assert invalid(caught), name
    with pytest.raises(StageFailed, match="larger than 4"):
        left_file(workspace, "build/model", 4)
