"""What the forge's child is lent and what is kept of what it leaves."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.errors import StageFailed
from edgeproof.contract.statements import CacheOrigin, ForgeConfig
from edgeproof.forge.cache import BuildCache, BuildRecord
from edgeproof.runner.build_cache import LENT_FOLDER, LentBuilds

ARTIFACT = b"artifact"
DIGEST = sha256_hex(ARTIFACT)
RECORD = BuildRecord(
    build_id="build-1",
    built_at="2026-01-02T03:04:05Z",
    artifact_sha256=DIGEST,
    precision="fp32",
    input_shapes={},
    build_options={},
)
ORIGIN = CacheOrigin(build_id=RECORD.build_id, built_at=RECORD.built_at)


class Place:
    def __init__(self, folder: Path) -> None:
        self.builds = LentBuilds(folder / "builds", bound=1000)
        (folder / "builds").mkdir()
        self.folder = folder / "builds"
        self.workspace = folder / "work"
        self.workspace.mkdir()
        self.artifact = self.workspace / "model.onnx"
        self.artifact.write_bytes(ARTIFACT)

    def child_builds(self, record: BuildRecord = RECORD, key: str = "key") -> None:
        BuildCache(self.workspace / LENT_FOLDER).store(key, self.artifact, record)

    def new_workspace(self) -> Path:
        made = self.workspace.with_name("work-2")
        made.mkdir()
        return made


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_kept_build_is_lent_to_the_same_order_only(place: Place, config: ForgeConfig) -> None:
    place.child_builds()
    place.builds.keep(config, place.workspace, place.artifact, DIGEST)
    same, other = place.new_workspace(), place.workspace.with_name("work-3")
    other.mkdir()
    place.builds.lend(msgspec.structs.replace(config, role="baseline", source_name="x"), same)
    place.builds.lend(msgspec.structs.replace(config, preset="fp16"), other)
    assert (same / LENT_FOLDER / "key" / "artifact").read_bytes() == ARTIFACT
    assert not (other / LENT_FOLDER).exists()


def test_an_origin_must_be_a_kept_build_of_this_order_and_artifact(place: Place, config: ForgeConfig) -> None:
    place.builds.check_origin(config, None, DIGEST)
    with pytest.raises(StageFailed, match="not kept here"):
        place.builds.check_origin(config, ORIGIN, DIGEST)
    place.child_builds()
    place.builds.keep(config, place.workspace, place.artifact, DIGEST)
    place.builds.check_origin(config, ORIGIN, DIGEST)
    for origin, digest, order in (
        (ORIGIN, sha256_hex(b"other"), config),
        (msgspec.structs.replace(ORIGIN, build_id="build-2"), DIGEST, config),
        (msgspec.structs.replace(ORIGIN, built_at="2020-01-01T00:00:00Z"), DIGEST, config),
        (ORIGIN, DIGEST, msgspec.structs.replace(config, preset="fp16")),
    ):
        with pytest.raises(StageFailed, match="not kept here"):
            place.builds.check_origin(order, origin, digest)


def test_a_record_of_another_artifact_is_not_kept(place: Place, config: ForgeConfig) -> None:
    place.child_builds(msgspec.structs.replace(RECORD, artifact_sha256=sha256_hex(b"other")))
    place.builds.keep(config, place.workspace, place.artifact, DIGEST)
    assert list(place.folder.glob("*/*")) == []


def test_planted_links_and_pipes_are_passed_over(place: Place, config: ForgeConfig, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    BuildCache(elsewhere).store("key", place.artifact, RECORD)
    lent = place.workspace / LENT_FOLDER
    lent.mkdir()
    (lent / "link").symlink_to(elsewhere / "key")
    (lent / "record").mkdir()
    (lent / "record" / "record.json").symlink_to(elsewhere / "key" / "record.json")
    (lent / "pipe").mkdir()
    os.mkfifo(lent / "pipe" / "record.json")
    (lent / "file").write_text("no folder")
    place.builds.keep(config, place.workspace, place.artifact, DIGEST)
    assert list(place.folder.glob("*/*")) == []


def test_a_linked_cache_folder_is_passed_over(place: Place, config: ForgeConfig, tmp_path: Path) -> None:
    BuildCache(tmp_path / "elsewhere").store("key", place.artifact, RECORD)
    (place.workspace / LENT_FOLDER).symlink_to(tmp_path / "elsewhere")
    place.builds.keep(config, place.workspace, place.artifact, DIGEST)
    assert list(place.folder.glob("*/*")) == []


def test_the_least_recently_used_order_goes_beyond_the_bound(place: Place, config: ForgeConfig) -> None:
    place.artifact.write_bytes(bytes(400))
    record = msgspec.structs.replace(RECORD, artifact_sha256=sha256_hex(bytes(400)))
    for number, preset in enumerate(("source", "fp32", "fp16")):
        place.child_builds(record)
        order = msgspec.structs.replace(config, preset=preset)
        place.builds.keep(order, place.workspace, place.artifact, record.artifact_sha256)
        (newest,) = (one for one in place.folder.iterdir() if one.stat().st_mtime > 100)
        os.utime(newest, (number, number))
    assert sorted(one.stat().st_mtime for one in place.folder.iterdir()) == [2]
