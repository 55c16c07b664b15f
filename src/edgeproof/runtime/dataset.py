"""Data sets: read without trust, or made up from a seed. Runs in the measuring child only.

An ``.npz`` holds one array per model input, first axis samples, and optionally ``labels`` and ``groups``
(integers, [samples]). Nothing is unpickled, and no more is unpacked than the archive's directory
declares, which is checked against a bound before the first byte is inflated.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from edgeproof.contract.errors import StageFailed
from edgeproof.domain.input_shapes import resolve
from edgeproof.runtime.port import ModelRefused, Tensor

MAX_UNPACKED_BYTES: Final = 1 << 30
MAX_ARRAYS: Final = 64
MAX_SAMPLES: Final = 1_000_000
RANDOM_SAMPLES: Final = 64
RANDOM_BYTES: Final = 256 << 20

Array = NDArray[Any]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Samples:
    """``inputs``: per input [count, *sample shape]. ``batch`` samples are fed a call; if ``whole``, one
    sample is the model's whole input and has no batch axis to share."""

    inputs: dict[str, Array]
    labels: Array | None
    groups: Array | None
    count: int
    batch: int
    whole: bool

    @property
    def calls(self) -> int:
        """Calls that cover every sample once."""
        return -(-self.count // self.batch)

    def feed(self, call: int) -> dict[str, Array]:
        """Input of one call; past the end it starts again from the first sample."""
        rows = (call * self.batch + np.arange(self.batch)) % self.count
        return {
            name: np.array(array[rows[0]] if self.whole else array[rows], order="C")
            for name, array in self.inputs.items()
        }


def resolve_shapes(
    tensors: Sequence[Tensor], given: Shapes, axes: Sequence[int | None]
) -> dict[str, tuple[int, ...]]:
    """The shape to feed for each input; ``axes`` are batch, height and width. Raises ``ModelRefused``."""
    if not tensors:
        raise ModelRefused("shape_mismatch", "the model has no input")
    declared = {tensor.name: tensor.shape for tensor in tensors}
    batch, height, width = axes
    try:
        shapes = resolve(declared, given, batch=batch, height=height, width=width)
    except StageFailed as error:
        raise ModelRefused(error.code, error.detail) from error
    for name, shape in shapes.items():
        if min(shape, default=1) < 1:
            raise ModelRefused("shape_mismatch", f"input {name!r} would be {_spell(shape)}")
    return shapes


def _spell(shape: Sequence[int]) -> str:
    return str(list(shape))


def invent(tensors: Sequence[Tensor], shapes: Shapes) -> Samples:
    """Seeded inputs: floats uniform in [0, 1), 8-bit integers over their range, others 0 or 1."""
    sizes = [int(np.prod(shapes[one.name])) * np.dtype(one.dtype).itemsize for one in tensors]
    leading = {shapes[one.name][:1] for one in tensors}
    batch = leading.pop()[0] if len(leading) == 1 and () not in leading else 1
    whole = not all(shapes[one.name][:1] == (batch,) for one in tensors)
    count = max(1, min(RANDOM_SAMPLES, RANDOM_BYTES // max(sum(sizes), 1)))
    generator = np.random.default_rng(0)
    inputs = {}
    for tensor in tensors:
        shape = (count, *(shapes[tensor.name] if whole else shapes[tensor.name][1:]))
        inputs[tensor.name] = _random(generator, tensor, shape)
    return Samples(inputs, None, None, count, 1 if whole else batch, whole)


def _random(generator: np.random.Generator, tensor: Tensor, shape: tuple[int, ...]) -> Array:
    dtype = np.dtype(tensor.dtype)
    if dtype.kind == "f":
        return generator.random(shape, dtype=np.float32).astype(dtype)
    if dtype.itemsize == 1 and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    return generator.integers(0, 1, shape, endpoint=True).astype(dtype)


def read(path: Path, tensors: Sequence[Tensor], shapes: Shapes) -> Samples:
    """The data set for a model's inputs. Raises ``ModelRefused``: ``dataset_unsafe``, ``dataset_invalid``."""
    arrays = unpack(path)
    inputs: dict[str, Array] = {}
    wholes: set[bool] = set()
    for tensor in tensors:
        array = arrays.pop(tensor.name, None)
        if array is None:
            raise ModelRefused("dataset_invalid", f"there is no array for input {tensor.name!r}")
        if array.dtype != np.dtype(tensor.dtype):
            raise ModelRefused(
                "dataset_invalid", f"array {tensor.name!r} is {array.dtype}, the input takes {tensor.dtype}"
            )
        shape = shapes[tensor.name]
        if array.ndim == len(shape) and array.shape[1:] == shape[1:]:
            wholes.add(False)
        elif array.ndim == len(shape) + 1 and array.shape[1:] == shape:
            wholes.add(True)
        else:
            raise ModelRefused(
                "dataset_invalid",
                f"array {tensor.name!r} is {_spell(array.shape)}, which holds no samples for {_spell(shape)}",
            )
        inputs[tensor.name] = array
    labels, groups = (_integers(arrays.pop(name, None), name) for name in ("labels", "groups"))
    if arrays:
        raise ModelRefused("dataset_invalid", f"the model has no input {min(arrays)!r}")
    counts = {len(one) for one in (*inputs.values(), labels, groups) if one is not None}
    if len(counts) != 1 or not 0 < max(counts) <= MAX_SAMPLES:
        raise ModelRefused("dataset_invalid", f"the arrays have {sorted(counts)} samples")
    batches = {shapes[tensor.name][:1] for tensor in tensors}
    whole = True in wholes
    if len(wholes) != 1 or not (whole or len(batches) == 1):
        raise ModelRefused("dataset_invalid", "the inputs do not share one batch axis")
    return Samples(inputs, labels, groups, counts.pop(), 1 if whole else batches.pop()[0], whole)


def _integers(array: Array | None, name: str) -> Array | None:
    if array is None:
        return None
    exact = (1 << 53) - 1  # what canonical JSON carries
    if (
        array.ndim != 1
        or array.dtype.kind not in "iu"
        or any(not -exact <= int(one) <= exact for one in array)
    ):
        raise ModelRefused("dataset_invalid", f"{name!r} must be one integer per sample")
    return array.astype(np.int64)


def unpack(path: Path, max_bytes: int = MAX_UNPACKED_BYTES) -> dict[str, Array]:
    """All arrays of an ``.npz``, at most ``max_bytes`` of them. Raises ``ModelRefused``."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if sum(member.file_size for member in members) > max_bytes or len(members) > MAX_ARRAYS:
                raise ModelRefused("dataset_unsafe", f"it would unpack to more than {max_bytes} bytes")
            if len(set(names)) != len(names) or not all(name.endswith(".npy") for name in names):
                raise ModelRefused("dataset_invalid", "an .npz holds .npy files of different names only")
            if any(one.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for one in members):
                raise ModelRefused("dataset_unsafe", "only stored and deflated members are unpacked")
            arrays = {}
            for member in members:
                with archive.open(member) as stream:
                    arrays[member.filename[: -len(".npy")]] = _array(stream, member)
            return arrays
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        with path.open("rb") as file:
            if file.read(1) == b"\x80":
                raise ModelRefused("dataset_unsafe", "it is a pickle") from error
        raise ModelRefused("dataset_invalid", f"it is not an .npz file: {error}") from error
    except zlib.error as error:
        raise ModelRefused("dataset_invalid", "its compressed data is damaged") from error


def _array(stream: IO[bytes], member: zipfile.ZipInfo) -> Array:
    """One array, checked against the member's size before it is allocated."""
    name = member.filename
    start = stream.read(6)
    if start[:1] == b"\x80":
        raise ModelRefused("dataset_unsafe", f"{name} is a pickle")
    if start != b"\x93NUMPY":
        raise ModelRefused("dataset_invalid", f"{name} is not an .npy file")
    major = stream.read(2)[:1]
    reader = {b"\x01": np.lib.format.read_array_header_1_0, b"\x02": np.lib.format.read_array_header_2_0}
    if major not in reader:
        raise ModelRefused("dataset_invalid", f"{name} has an unknown .npy version")
    shape, fortran, dtype = reader[major](stream)
    if dtype.hasobject:
        raise ModelRefused("dataset_unsafe", f"{name} holds Python objects")
    if dtype.kind not in "biuf":
        raise ModelRefused("dataset_invalid", f"{name} holds {dtype}")
    size = dtype.itemsize
    for length in shape:
        size *= length
    if size < 0 or size != member.file_size - stream.tell():
        raise ModelRefused(
            "dataset_invalid", f"{name} is {member.file_size} bytes, its header says otherwise"
        )
    array = np.empty(size, np.uint8)
    view = array.data
    filled = 0
    while filled < size:
        chunk = stream.read(min(1 << 20, size - filled))
        if not chunk:
            raise ModelRefused("dataset_invalid", f"{name} is cut short")
        view[filled : filled + len(chunk)] = chunk
        filled += len(chunk)
    if stream.read(1):
        raise ModelRefused("dataset_unsafe", f"{name} unpacks to more than it declares")
    native: Array = array.view(dtype).reshape(shape, order="F" if fortran else "C")
    return native.astype(dtype.newbyteorder("="), copy=False)
