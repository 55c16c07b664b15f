"""The build cache: what is in a key, and what a damaged entry gets."""

from __future__ import annotations

import msgspec
import pytest

from edgeproof.contract.statements import ForgeConfig
from edgeproof.forge.cache import BuildCache, BuildRecord, build_key, file_sha256
from edgeproof.forge.presets import PRESETS

CONFIG = ForgeConfig(
    role="candidate", backend="onnxruntime", target="cpu", preset="fp32", precision="fp32", source="a" * 64,
    source_name="m.onnx", calibration="b" * 64, input_shapes={"x": (1, 2)}, batch=1, height=None, width=None,
)  # fmt: skip
VERSIONS = {"onnxruntime": "1"}


def key(config=CONFIG, preset="fp32", versions=VERSIONS, device="here") -> str:
    return build_key(config, PRESETS[preset], versions, device)


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "c" * 64}, {"input_shapes": {"x": (2, 2)}}, {"batch": 2}, {"height": 1}, {"width": 1},
        {"backend": "other"}, {"target": "other"},
    ],
)  # fmt: skip
def test_what_decides_the_bytes_decides_the_key(changes):
    assert key(msgspec.structs.replace(CONFIG, **changes)) != key()


def test_role_and_name_do_not_decide_it():
    assert key(msgspec.structs.replace(CONFIG, role="baseline", source_name="n.onnx")) == key()


def test_tools_presets_and_where_it_matters_calibration_and_machine_do():
    other = msgspec.structs.replace(CONFIG, calibration="d" * 64)
    assert key(versions={"onnxruntime": "2"}) != key()
    assert key(preset="fp16") != key()
    assert key(other) == key()
    assert key(other, "int8_static") != key(preset="int8_static")
    assert key(device="there") == key()
    assert key(preset="int8_static", device="there") != key(preset="int8_static")


@pytest.fixture
def entry(tmp_path):
    artifact = tmp_path / "artifact.onnx"
    artifact.write_bytes(b"model" * 100)
    record = BuildRecord(
        build_id="m-1", built_at="2026-01-01T00:00:00Z", artifact_sha256=file_sha256(artifact),
        precision="fp32", input_shapes={"x": (1, 2)}, build_options={"a": "b"},
    )  # fmt: skip
    return artifact, record


def test_out_comes_what_went_in(tmp_path, entry):
    artifact, record = entry
    cache, target = BuildCache(tmp_path / "cache"), tmp_path / "target"
    assert cache.fetch("k", target) is None
    cache.store("k", artifact, record)
    cache.store("k", artifact, msgspec.structs.replace(record, build_id="later"))
    assert cache.fetch("k", target) == record
    assert target.read_bytes() == artifact.read_bytes()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["k"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("artifact", b"other"), ("record.json", b"{}"), ("record.json", b"not json"), ("record.json", b"")],
)
def test_a_damaged_entry_is_dropped(tmp_path, entry, name, content):
    artifact, record = entry
    cache, target = BuildCache(tmp_path / "cache"), tmp_path / "target"
    cache.store("k", artifact, record)
    (tmp_path / "cache" / "k" / name).write_bytes(content)
    assert cache.fetch("k", target) is None
    assert not target.exists()
    assert not list((tmp_path / "cache").iterdir())
    cache.store("k", artifact, record)
    assert cache.fetch("k", target) == record


def test_the_least_recently_used_goes_first(tmp_path, entry):
    import os

    artifact, record = entry
    cache, target = BuildCache(tmp_path / "cache", max_bytes=1000), tmp_path / "target"
    for index, name in enumerate(("old", "new")):
        cache.store(name, artifact, record)
        os.utime(tmp_path / "cache" / name, (index, index))
    assert cache.fetch("old", target) == record
    cache.store("third", artifact, record)
    assert cache.fetch("new", target) is None
    assert cache.fetch("old", target) == record
    assert cache.fetch("third", target) == record
