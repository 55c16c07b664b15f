"""The files of `examples/digits` fit each other: what `make demo` relies on, without building anything."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

DIGITS = Path(__file__).parents[3] / "examples" / "digits"
MODELS = ["digits.onnx", "digits-deeper.onnx"]
DATA = ["calibration.npz", "calibration-wrong.npz", "test.npz"]


def load(name: str) -> dict[str, NDArray[np.generic]]:
    with np.load(DIGITS / name, allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def test_set() -> dict[str, NDArray[np.generic]]:
    return load("test.npz")


@pytest.fixture(scope="module")
def provenance() -> dict[str, object]:
    return json.loads((DIGITS / "provenance.json").read_text())


@pytest.mark.parametrize("name", MODELS)
def test_models_share_one_signature_and_use_operators_that_quantise(name: str) -> None:
    model = onnx.load(DIGITS / name)
    onnx.checker.check_model(model, full_check=True)
    (image,), (logits,) = model.graph.input, model.graph.output

    def shape(value: object) -> list[int | str]:
        return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]

    assert (image.name, shape(image)) == ("image", ["N", 1, 32, 32])
    assert (logits.name, shape(logits)) == ("logits", ["N", 10])
    assert image.type.tensor_type.elem_type == logits.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    plain = {"Conv", "Relu", "MaxPool", "GlobalAveragePool", "Flatten", "Gemm"}
    assert {node.op_type for node in model.graph.node} == plain


@pytest.mark.parametrize(
    ("name", "count", "top"),
    [("calibration.npz", 200, 1.0), ("calibration-wrong.npz", 200, 1 / 255), ("test.npz", 3600, 1.0)],
)
def test_images_fit_the_input_in_shape_type_and_range(name: str, count: int, top: float) -> None:
    image = load(name)["image"]
    assert image.shape == (count, 1, 32, 32)
    assert image.dtype == np.float32
    assert image.min() == 0
    assert image.max() == pytest.approx(top)


def test_calibration_sets_hold_only_the_input() -> None:
    assert set(load("calibration.npz")) == set(load("calibration-wrong.npz")) == {"image"}


def test_wrong_calibration_is_the_right_one_divided_by_255_again() -> None:
    right, wrong = load("calibration.npz")["image"], load("calibration-wrong.npz")["image"]
    np.testing.assert_array_equal(wrong, right / np.float32(255))


def test_test_set_is_labelled_and_grouped(test_set: dict[str, NDArray[np.generic]]) -> None:
    assert set(test_set) == {"image", "labels", "groups"}
    labels, groups = test_set["labels"], test_set["groups"]
    assert labels.dtype == groups.dtype == np.int64
    assert labels.shape == groups.shape == (3600,)
    np.testing.assert_array_equal(np.bincount(labels), [360] * 10)
    originals, copies = np.unique(groups, return_counts=True)
    assert len(originals) == 600
    assert set(copies) == {6}
    for group in originals:
        assert len(set(labels[groups == group])) == 1


def test_test_originals_are_disjoint_from_calibration(
    test_set: dict[str, NDArray[np.generic]], provenance: dict[str, list[int]]
) -> None:
    held_out, calibration = set(provenance["held_out_originals"]), set(provenance["calibration_originals"])
    assert set(test_set["groups"].tolist()) == held_out
    assert len(calibration) == 200
    assert held_out.isdisjoint(calibration)


def test_provenance_names_every_file_by_digest(provenance: dict[str, dict[str, str]]) -> None:
    digests = {name: hashlib.sha256((DIGITS / name).read_bytes()).hexdigest() for name in MODELS + DATA}
    assert provenance["sha256"] == digests


def test_files_stay_small() -> None:
    sizes = {name: (DIGITS / name).stat().st_size for name in MODELS + DATA}
    assert all(size < 1_000_000 for name, size in sizes.items() if name.endswith(".onnx")), sizes
    assert all(size < 1_500_000 for size in sizes.values()), sizes


@pytest.mark.parametrize("name", MODELS)
def test_models_read_the_digits(name: str, test_set: dict[str, NDArray[np.generic]]) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(DIGITS / name, options, providers=["CPUExecutionProvider"])
    subset = slice(None, None, 12)  # 300 samples, every second original once
    (logits,) = session.run(["logits"], {"image": test_set["image"][subset]})
    assert logits.shape == (300, 10)
    assert (logits.argmax(1) == test_set["labels"][subset]).mean() > 0.9
