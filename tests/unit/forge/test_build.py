"""Building: every preset's outcome, its papers, its cache, and that an error leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest

from edgeproof.contract.canonical import canonical
from edgeproof.contract.errors import StageFailed
from edgeproof.contract.results import ForgeManifest, ForgeMetadata
from edgeproof.forge.cache import BuildCache, file_sha256
from edgeproof.forge.onnx_model import precision_of
from edgeproof.forge.presets import PRESETS

CONVERTING = [name for name in PRESETS if name != "source"]


def run(path: Path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])


def test_source_is_the_same_bytes_and_its_precision_is_looked_up(forge, make_cnn):
    source = forge.file(make_cnn())
    outcome = forge.build(source, batch=2, precision="int8")
    assert outcome.artifact.read_bytes() == source.read_bytes()
    assert outcome.summary.precision == "fp32"
    assert outcome.manifest.runtime.input_shapes == {"image": (2, 1, 8, 8)}


@pytest.mark.parametrize("preset", CONVERTING)
def test_built_models_have_their_precision_the_given_shape_and_nearly_the_same_answers(
    forge, make_cnn, images, preset
):
    source, calibration = forge.file(make_cnn()), forge.calibration(image=images)
    outcome = forge.build(source, preset, calibration, batch=1)
    built = onnx.load(outcome.artifact)
    assert precision_of(built) == outcome.summary.precision == PRESETS[preset].precision
    assert [d.dim_value for d in built.graph.input[0].type.tensor_type.shape.dim] == [1, 1, 8, 8]
    before, after = run(source, images), run(outcome.artifact, images)
    tolerance = {"fp32": 1e-5, "fp16": 1e-2, "int8": 0.1}[PRESETS[preset].precision]
    np.testing.assert_allclose(after, before, atol=tolerance)
    if PRESETS[preset].precision != "fp32":
        assert not np.array_equal(after, before)


def test_static_int8_is_really_decided_by_the_calibration_set(forge, make_cnn, images):
    source = forge.file(make_cnn())
    right = forge.build(source, "int8_static", forge.calibration(image=images), batch=1)
    wrong = forge.build(source, "int8_static", forge.calibration("w.npz", image=images * 1e-3), batch=1)
    before = run(source, images)
    error = [np.abs(run(one.artifact, images) - before).max() for one in (right, wrong)]
    assert error[1] > 5 * error[0]


def test_the_papers_say_everything_and_no_path_of_this_machine(forge, make_cnn, images):
    source, calibration = forge.file(make_cnn()), forge.calibration(image=images)
    outcome = forge.build(source, "int8_static", calibration, batch=1, source_name="C:\\a\\..\\my net.onnx")
    folder = outcome.artifact.parent
    metadata = (folder / "metadata.json").read_bytes()
    manifest = (folder / "manifest.json").read_bytes()
    assert metadata == canonical(msgspec.json.decode(metadata, type=ForgeMetadata))
    assert msgspec.json.decode(metadata, type=ForgeMetadata) == outcome.metadata
    assert msgspec.json.decode(manifest, type=ForgeManifest) == outcome.manifest
    assert {path.name for path in folder.iterdir()} == {"metadata.json", "manifest.json", "my_net.onnx"}
    papers = metadata + manifest + canonical(outcome.summary)
    assert str(forge.folder).encode() not in papers
    assert b"/" not in papers

    summary = outcome.summary
    assert summary.source_model_path == "my_net.onnx"
    assert summary.source_model_sha256 == file_sha256(source)
    assert summary.artifact_sha256 == file_sha256(outcome.artifact)
    assert (summary.batch, summary.height, summary.width) == (1, 8, 8)
    assert summary.build_id.startswith("my_net-onnxruntime-int8_static-")
    assert outcome.manifest.tool.calibration_sha256 == file_sha256(calibration)
    assert {"onnx", "onnxruntime", "numpy", "edgeproof"} <= outcome.manifest.tool.versions.keys()
    options = outcome.metadata.preset_snapshot.build_options
    assert options["calibrate_method"] == "MinMax"
    assert options["calibration_batches"] == "10"
    assert outcome.metadata.artifacts[0].size_bytes == outcome.artifact.stat().st_size
    assert outcome.started_at < outcome.metadata.build.timestamp < outcome.finished_at


def test_calibration_is_no_part_of_a_build_that_does_not_use_it(forge, make_cnn, images):
    source, calibration = forge.file(make_cnn()), forge.calibration(image=images)
    with_it = forge.build(source, "fp32", calibration, batch=1)
    assert with_it.manifest.tool.calibration_sha256 is None
    assert with_it.summary.build_id == forge.build(source, "fp32", batch=1).summary.build_id


def test_a_second_build_is_a_cache_hit_with_the_first_ones_provenance(forge, make_cnn, tmp_path):
    source, cache = forge.file(make_cnn()), BuildCache(tmp_path / "cache")
    first = forge.build(source, "fp32", cache=cache, batch=1)
    steps = len(forge.progress)
    second = forge.build(source, "fp32", cache=cache, batch=1, source_name="renamed.onnx")
    assert first.cached is None
    assert second.cached is not None
    assert (second.cached.build_id, second.cached.built_at) == (
        first.metadata.build.build_id,
        first.metadata.build.timestamp,
    )
    assert second.metadata.build == first.metadata.build
    assert second.artifact.read_bytes() == first.artifact.read_bytes()
    assert second.started_at > first.finished_at
    assert len(forge.progress) == steps
    assert forge.build(source, "fp32", cache=cache, batch=2).cached is None


def test_progress_counts_up(forge, make_cnn, images):
    forge.build(forge.file(make_cnn()), "int8_static", forge.calibration(image=images), batch=1)
    steps = [one.completed for one in forge.progress if one.unit == "step"]
    batches = [one.completed for one in forge.progress if one.unit == "batch"]
    assert steps == sorted(steps)
    assert batches == list(range(1, 11))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"preset": "int4"}, "unknown_preset"),
        ({"backend": "tensorrt"}, "unknown_backend"),
        ({"target": "toaster"}, "unknown_target"),
        ({"preset": "int8_static"}, "calibration_required"),
        ({"source": "0" * 64}, "artifact_digest_mismatch"),
        ({"batch": None}, "dynamic_dimension"),
        ({"height": 9}, "shape_mismatch"),
        ({"input_shapes": {"picture": (1, 1, 8, 8)}}, "shape_mismatch"),
        ({"input_shapes": {"image": (1, 1, 8)}}, "shape_mismatch"),
    ],
)
def test_wrong_requests_have_their_code_and_leave_nothing(forge, make_cnn, changes, code):
    source = forge.file(make_cnn())
    with pytest.raises(StageFailed) as caught:
        forge.build(source, **({"batch": 1} | changes))
    assert caught.value.code == code
    assert not forge.workspace.exists() or not list(forge.workspace.iterdir())


def test_a_calibration_set_that_is_not_the_named_one(forge, make_cnn, images):
    named, other = forge.calibration(image=images), forge.calibration("other.npz", image=images + 1)
    with pytest.raises(StageFailed) as caught:
        forge.build(forge.file(make_cnn()), "int8_static", other, calibration=file_sha256(named))
    assert caught.value.code == "artifact_digest_mismatch"
    with pytest.raises(StageFailed) as caught:
        forge.build(forge.file(make_cnn()), "int8_static", other, calibration=None)
    assert caught.value.code == "calibration_required"


@pytest.mark.parametrize("preset", ["fp32", "fp16", "int8_dynamic", "int8_static"])
def test_a_model_that_is_quantised_already_is_not_converted_again(forge, make_cnn, images, preset):
    calibration = forge.calibration(image=images)
    built = forge.build(forge.file(make_cnn()), "int8_static", calibration, batch=1)
    with pytest.raises(StageFailed, match="is int8: use preset source") as caught:
        forge.build(built.artifact, preset, calibration)
    assert caught.value.code == "build_failed"
    assert forge.build(built.artifact).summary.precision == "int8"


def test_nothing_to_quantise(forge, make_node):
    with pytest.raises(StageFailed, match="no operator that can be quantised") as caught:
        forge.build(forge.file(make_node("Abs")), "int8_dynamic")
    assert caught.value.code == "build_failed"


def test_a_model_that_loads_but_cannot_run(forge):
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [value("x", 1, [2, "K"])],
        [value("y", 1, [2, 1])],
        [onnx.numpy_helper.from_array(np.ones((4, 1), np.float32), "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    assert forge.build(forge.file(model), input_shapes={"x": (2, 4)}).summary.batch == 2
    with pytest.raises(StageFailed) as caught:
        forge.build(forge.file(model), input_shapes={"x": (2, 3)})
    assert caught.value.code == "build_failed"
    assert not list(forge.workspace.iterdir())


def test_a_model_that_wants_more_memory_than_there_is(forge):
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("ConstantOfShape", ["huge"], ["zeros"]),
            onnx.helper.make_node("Add", ["x", "zeros"], ["y"]),
        ],
        "huge",
        [onnx.helper.make_tensor_value_info("x", 1, [1])],
        [onnx.helper.make_tensor_value_info("y", 1, ["M"])],
        [onnx.numpy_helper.from_array(np.array([1 << 45], np.int64), "huge")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(StageFailed) as caught:
        forge.build(forge.file(model))
    assert caught.value.code == "memory_limit"


def test_the_quantiser_neither_prints_nor_warns_nor_logs(forge, make_cnn, images, capfd, caplog, recwarn):
    forge.build(forge.file(make_cnn()), "int8_static", forge.calibration(image=images), batch=1)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert not recwarn.list
