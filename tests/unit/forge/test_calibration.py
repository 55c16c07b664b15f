"""Calibration sets: what fits is cut into batches, what does not is refused before it is unpacked."""

from __future__ import annotations

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from edgeproof.contract.errors import StageFailed
from edgeproof.forge.calibration import read_calibration

SHAPES = {"x": (2, 3)}
TYPES = {"x": np.dtype(np.float32)}
GOOD = np.arange(15, dtype=np.float32).reshape(5, 3)


class Payload:
    """Unpickling it would make a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def npy(header: str, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode()
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version[0] == 1 else 4, "little") + text + body


def archive(path, members: dict[str, bytes]):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def read(path, **limits):
    return read_calibration(path, SHAPES, TYPES, **limits)


def code_of(path, **limits) -> str:
    with pytest.raises(StageFailed) as caught:
        read(path, **limits)
    return caught.value.code


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_batches_in_order_and_the_last_one_filled_up(tmp_path, save):
    save(tmp_path / "c.npz", x=GOOD, labels=np.arange(5))
    batches = read(tmp_path / "c.npz")
    expected = GOOD[[0, 1, 2, 3, 4, 0]].reshape(3, 2, 3)
    np.testing.assert_array_equal(np.stack([batch["x"] for batch in batches]), expected)
    assert all(set(batch) == {"x"} for batch in batches)


def test_samples_that_are_the_whole_input(tmp_path):
    np.savez(tmp_path / "c.npz", x=GOOD, s=np.arange(5, dtype=np.float32))
    types = TYPES | {"s": np.dtype(np.float32)}
    batches = read_calibration(tmp_path / "c.npz", {"x": (3,), "s": ()}, types)
    assert [(batch["x"].shape, batch["s"].shape) for batch in batches] == [((3,), ())] * 5
    np.testing.assert_array_equal(batches[3]["x"], GOOD[3])
    with pytest.raises(StageFailed, match="share one batch axis"):
        read_calibration(tmp_path / "c.npz", {"x": (1, 3), "s": ()}, types)


def test_column_order_is_kept(tmp_path):
    np.savez(tmp_path / "c.npz", x=np.asfortranarray(GOOD))
    np.testing.assert_array_equal(read(tmp_path / "c.npz")[0]["x"], GOOD[:2])


@pytest.mark.parametrize(
    "arrays",
    [
        {"y": GOOD},
        {"x": GOOD.astype(np.float64)},
        {"x": GOOD.astype(">f4")},
        {"x": GOOD.reshape(3, 5)},
        {"x": GOOD[..., None]},
        {"x": GOOD[:0]},
        {"x": np.float32(1)},
        {"x": np.where(GOOD == 3, np.nan, GOOD).astype(np.float32)},
        {"x": np.where(GOOD == 3, np.inf, GOOD).astype(np.float32)},
        {},
    ],
    ids=["name", "double", "big-endian", "shape", "rank", "none", "scalar", "nan", "inf", "empty"],
)
def test_sets_that_do_not_fit(tmp_path, arrays):
    np.savez(tmp_path / "c.npz", **arrays)
    assert code_of(tmp_path / "c.npz") == "dataset_invalid"


def test_inputs_with_unequal_counts(tmp_path):
    np.savez(tmp_path / "c.npz", x=GOOD, z=GOOD[:2])
    with pytest.raises(StageFailed) as caught:
        read_calibration(tmp_path / "c.npz", SHAPES | {"z": (2, 3)}, TYPES | {"z": np.dtype(np.float32)})
    assert caught.value.code == "dataset_invalid"


def test_nothing_is_unpickled(tmp_path):
    trap, path = tmp_path / "trap", tmp_path / "c.npz"
    objects = np.empty(2, object)
    objects[:] = [Payload(trap), None]
    np.savez(path, x=GOOD, extra=objects)
    assert code_of(path) == "dataset_unsafe"
    path.write_bytes(pickle.dumps(Payload(trap)))
    assert code_of(path) == "dataset_unsafe"
    archive(path, {"x.npy": pickle.dumps(Payload(trap))})
    assert code_of(path) == "dataset_unsafe"
    assert not trap.exists()


def test_bombs(tmp_path):
    path = tmp_path / "c.npz"
    np.savez_compressed(path, x=np.zeros((1_000_000, 3), np.float32))
    assert path.stat().st_size < 20_000
    assert code_of(path, max_bytes=11_999_999) == "dataset_unsafe"
    assert len(read(path, max_bytes=12_000_000)) == 500_000
    huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 3)}\n"
    archive(path, {"x.npy": npy(huge)})
    assert code_of(path) == "dataset_unsafe"
    archive(path, {"x.npy": npy(" " * 70_000, version=b"\x02\x00")})
    assert code_of(path) == "dataset_unsafe"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("x.npy", b"")
    assert code_of(path) == "dataset_unsafe"
    archive(path, {f"{index}.npy": b"" for index in range(65)})
    assert code_of(path) == "dataset_unsafe"


def test_lengths_that_lie(tmp_path):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}\n"
    for body in (b"\0" * 23, b"\0" * 25, b"\0" * 5_000_000):
        path = archive(tmp_path / "c.npz", {"x.npy": npy(header, body)})
        assert code_of(path) == "dataset_invalid"
    for bad in ("{", "[]", "{'descr': 'what', 'fortran_order': False, 'shape': (2, 3)}", "(" * 5_000):
        path = archive(tmp_path / "c.npz", {"x.npy": npy(bad)})
        assert code_of(path) == "dataset_invalid"
    negative = "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3)}\n"
    assert code_of(archive(tmp_path / "c.npz", {"x.npy": npy(negative)})) == "dataset_invalid"


def test_damaged_archives(tmp_path):
    path = tmp_path / "c.npz"
    np.savez_compressed(path, x=np.random.default_rng(1).normal(size=(500, 3)).astype(np.float32))
    whole = path.read_bytes()
    for damaged in (
        b"", b"text", whole[:100], whole[:-10], whole[:60] + bytes(200) + whole[260:],
    ):  # fmt: skip
        path.write_bytes(damaged)
        assert code_of(path) == "dataset_invalid"
    buffer = io.BytesIO()
    np.save(buffer, GOOD)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(StageFailed, match=r"single \.npy array"):
        read(path)
