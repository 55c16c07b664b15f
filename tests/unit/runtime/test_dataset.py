from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgeproof.runtime import dataset
from edgeproof.runtime.port import ModelRefused, Tensor

X = Tensor("x", "float32", ("N", 3))


def npz(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def code(path: Path, *, max_bytes: int = dataset.MAX_UNPACKED_BYTES) -> str:
    with pytest.raises(ModelRefused) as caught:
        dataset.unpack(path, max_bytes)
    return caught.value.code


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.float32).reshape(4, 3),
        np.asfortranarray(np.arange(12, dtype=np.int16).reshape(4, 3)),
        np.arange(12, dtype=">f8").reshape(4, 3),
        np.zeros((0, 3), np.uint8),
        np.array([True, False]),
        np.float16(2.5),
    ],
)
def test_unpacks_what_numpy_saved(tmp_path: Path, array: np.ndarray) -> None:
    (found,) = dataset.unpack(npz(tmp_path / "a.npz", x=npy(np.asarray(array)))).values()
    assert np.array_equal(found, array)
    assert found.dtype == np.asarray(array).dtype.newbyteorder("=")


def test_the_bound_is_on_the_unpacked_size(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", x=npy(np.zeros(1000, np.uint8)), y=npy(np.zeros(1000, np.uint8)))
    assert code(path, max_bytes=2000) == "dataset_unsafe"
    assert set(dataset.unpack(path, 2300)) == {"x", "y"}


def test_a_declared_size_that_lies_is_refused(tmp_path: Path) -> None:
    """The directory declares fewer bytes than the member inflates to."""
    path = npz(tmp_path / "a.npz", x=npy(np.zeros(1 << 20, np.uint8)))
    data = path.read_bytes()
    true, false = ((1 << 20) + 128).to_bytes(4, "little"), (1128).to_bytes(4, "little")
    assert data.count(true) == 2
    path.write_bytes(data.replace(true, false))
    assert code(path, max_bytes=2000) == "dataset_invalid"


def test_a_header_that_contradicts_its_member_is_refused(tmp_path: Path) -> None:
    header = npy(np.zeros((4, 3)))
    assert code(npz(tmp_path / "a.npz", x=header.replace(b"(4, 3)", b"(9, 3)"))) == "dataset_invalid"
    assert code(npz(tmp_path / "b.npz", x=header[:-8])) == "dataset_invalid"
    assert code(npz(tmp_path / "c.npz", x=header + b"12345678")) == "dataset_invalid"
    assert code(npz(tmp_path / "d.npz", x=header.replace(b"(4, 3)", b"(4,-3)"))) == "dataset_invalid"


def test_what_could_run_code_is_refused(tmp_path: Path) -> None:
    objects = np.array([{"a": 1}, None], dtype=object)
    assert code(npz(tmp_path / "a.npz", x=npy(objects))) == "dataset_unsafe"
    assert code(npz(tmp_path / "b.npz", x=b"\x80\x04N.")) == "dataset_unsafe"
    (tmp_path / "c.npz").write_bytes(b"\x80\x04N.")
    assert code(tmp_path / "c.npz") == "dataset_unsafe"


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for data in (b"", b"PK", b"hello", npy(np.zeros(3))):
        path.write_bytes(data)
        assert code(path) == "dataset_invalid"
    whole = npz(path, x=npy(np.random.default_rng(0).random(1000))).read_bytes()
    path.write_bytes(whole[:500] + b"\xff" * 40 + whole[540:])
    assert code(path) == "dataset_invalid"
    assert code(npz(tmp_path / "b.npz", x=b"\x93NUMPY\x09\x00rest")) == "dataset_invalid"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inner.npz", whole)
    assert code(path) == "dataset_invalid"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", npy(np.zeros(3)))
    assert code(path) == "dataset_unsafe"


def test_calls_cycle_and_fill_the_last_batch() -> None:
    array = np.arange(15, dtype=np.float32).reshape(5, 3)
    samples = dataset.Samples({"x": array}, None, None, 5, 2, whole=False)
    assert samples.calls == 3
    assert samples.feed(2)["x"].tolist() == [array[4].tolist(), array[0].tolist()]
    whole = dataset.Samples({"x": array}, None, None, 5, 1, whole=True)
    assert whole.feed(6)["x"].tolist() == array[1].tolist()


def test_whole_samples_where_the_array_has_one_more_axis(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", x=npy(np.zeros((5, 2, 3), np.float32)))
    samples = dataset.read(path, [X], {"x": (2, 3)})
    assert (samples.whole, samples.calls, samples.feed(0)["x"].shape) == (True, 5, (2, 3))


def test_invented_inputs_are_seeded_and_of_the_right_type() -> None:
    tensors = [
        X,
        Tensor("ids", "int64", ("N", 7)),
        Tensor("mask", "bool", ("N", 7)),
        Tensor("q", "uint8", ("N",)),
    ]
    shapes = {"x": (2, 3), "ids": (2, 7), "mask": (2, 7), "q": (2,)}
    one, two = dataset.invent(tensors, shapes), dataset.invent(tensors, shapes)
    assert (one.count, one.batch, one.whole) == (64, 2, False)
    for tensor in tensors:
        assert np.array_equal(one.inputs[tensor.name], two.inputs[tensor.name])
        assert one.feed(0)[tensor.name].dtype == tensor.dtype
        assert one.feed(0)[tensor.name].shape == shapes[tensor.name]
    assert set(np.unique(one.inputs["ids"])) == {0, 1}
    assert one.inputs["q"].max() > 200


def test_invented_inputs_without_a_shared_batch_axis_are_fed_whole() -> None:
    samples = dataset.invent([X, Tensor("scale", "float32", ())], {"x": (2, 3), "scale": ()})
    assert (samples.whole, samples.batch) == (True, 1)
    assert {name: array.shape for name, array in samples.feed(0).items()} == {"x": (2, 3), "scale": ()}


def test_invented_inputs_are_bounded_in_memory() -> None:
    shape = (1, 3, 4096, 4096)
    samples = dataset.invent([Tensor("x", "float32", shape)], {"x": shape})
    assert samples.count == 1
