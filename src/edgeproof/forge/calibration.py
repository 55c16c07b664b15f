"""Reading a calibration set: an ``.npz`` with one array per model input, samples along the first axis.

The file is somebody else's. Nothing in it is unpickled, every length is known before a byte is unpacked,
and members that no input needs are never unpacked at all.
"""

from __future__ import annotations

import ast
import operator
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from edgeproof.contract.errors import StageFailed

MAX_UNPACKED_BYTES: Final = 1 << 30
MAX_MEMBERS: Final = 64
_MAX_HEADER_BYTES: Final = 1 << 16
_MAX_LENGTH: Final = 1 << 48

Array = np.ndarray[Any, np.dtype[Any]]


def read_calibration(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    types: Mapping[str, np.dtype[Any]],
    *,
    max_bytes: int = MAX_UNPACKED_BYTES,
) -> list[dict[str, Array]]:
    """The set cut into batches as the model takes them: ``shapes[name]`` each, in the file's order.

    The last batch is filled up from the beginning. Raises ``StageFailed``: ``dataset_unsafe`` for a
    pickle, an object array or more than ``max_bytes`` unpacked; ``dataset_invalid`` for all that does
    not fit the model.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = _read_arrays(archive, types, max_bytes)
    except zipfile.BadZipFile as error:
        raise _no_archive(path, error) from error
    except (zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error, OSError) as error:
        raise StageFailed("dataset_invalid", f"the archive is damaged: {error}") from error
    return list(_batches(arrays, shapes))


def _no_archive(path: Path, error: Exception) -> StageFailed:
    with path.open("rb") as file:
        start = file.read(6)
    if start[:1] == b"\x80":
        return StageFailed("dataset_unsafe", "the file is a pickle, which could run code")
    kind = "a single .npy array" if start == b"\x93NUMPY" else "no .npz archive"
    return StageFailed("dataset_invalid", f"the file is {kind}: {error}")


def _read_arrays(
    archive: zipfile.ZipFile, types: Mapping[str, np.dtype[Any]], max_bytes: int
) -> dict[str, Array]:
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise StageFailed("dataset_unsafe", f"more than {MAX_MEMBERS} members")
    if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in infos):
        raise StageFailed("dataset_unsafe", "only stored and deflated members are unpacked")
    members = {info.filename.removesuffix(".npy"): info for info in infos}
    if len(members) != len(infos):
        raise StageFailed("dataset_invalid", "two arrays have the same name")
    absent = [name for name in types if name not in members]
    if absent:
        raise StageFailed(
            "dataset_invalid", f"no array for input {absent[0]!r}; there are {', '.join(sorted(members))}"
        )
    arrays: dict[str, Array] = {}
    left = max_bytes
    for name, info in members.items():
        with archive.open(info) as member:
            shape, fortran, dtype = _header(member, name)
            if name not in types:
                continue
            if dtype != types[name]:
                raise StageFailed(
                    "dataset_invalid", f"array {name!r} is {dtype}, the model takes {types[name]}"
                )
            size = prod(shape) * dtype.itemsize
            left -= size
            if left < 0:
                raise StageFailed("dataset_unsafe", f"unpacks to more than {max_bytes} bytes")
            data = member.read(size)
            if len(data) != size or member.read(1):
                raise StageFailed("dataset_invalid", f"array {name!r} does not have the length it declares")
            arrays[name] = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return arrays


def _header(member: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type from a ``.npy`` header
    (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html)."""
    magic = member.read(8)
    if magic[:1] == b"\x80":
        raise StageFailed("dataset_unsafe", f"member {name!r} is a pickle, which could run code")
    if magic[:6] != b"\x93NUMPY" or len(magic) < 8:
        raise StageFailed("dataset_invalid", f"member {name!r} is no .npy array")
    prefix = member.read(2 if magic[6] == 1 else 4)
    length = int.from_bytes(prefix, "little")
    if length > _MAX_HEADER_BYTES:
        raise StageFailed("dataset_unsafe", f"member {name!r} has a header of {length} bytes")
    try:
        header = ast.literal_eval(member.read(length).decode("utf-8" if magic[6] == 3 else "latin-1").strip())
        shape, fortran = tuple(map(operator.index, header["shape"])), bool(header["fortran_order"])
        dtype = np.lib.format.descr_to_dtype(header["descr"])
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise StageFailed("dataset_invalid", f"member {name!r} has a bad header: {error}") from error
    if dtype.hasobject:
        raise StageFailed("dataset_unsafe", f"array {name!r} holds Python objects, which could run code")
    if any(not 0 <= one < _MAX_LENGTH for one in shape):
        raise StageFailed("dataset_invalid", f"array {name!r} has the shape {shape}")
    return shape, fortran, dtype


def _batches(arrays: dict[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, Array]]:
    whole, count = _samples(arrays, shapes)
    batch = 1 if whole else next((shapes[name][0] for name in arrays), 1)
    for start in range(0, count, batch):
        rows = np.arange(start, start + batch) % count
        yield {name: array[rows[0]] if whole else array[rows] for name, array in arrays.items()}


def _samples(arrays: dict[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> tuple[bool, int]:
    """Whether a sample is a model's whole input, without a batch axis to share; and how many there are."""
    whole: set[bool] = set()
    for name, array in arrays.items():
        shape = shapes[name]
        if array.ndim and array.shape[1:] == shape:
            whole.add(True)
        elif array.ndim and shape and array.shape[1:] == shape[1:]:
            whole.add(False)
        else:
            raise StageFailed(
                "dataset_invalid",
                f"array {name!r} is {list(array.shape)}, which holds no samples for {list(shape)}",
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise StageFailed("dataset_invalid", f"array {name!r} holds NaN or infinity")
    if len(whole) != 1 or (whole == {False} and len({shapes[name][0] for name in arrays}) != 1):
        raise StageFailed("dataset_invalid", "the inputs do not share one batch axis")
    counts = {array.shape[0] for array in arrays.values()}
    if len(counts) != 1 or counts == {0}:
        raise StageFailed("dataset_invalid", f"the arrays have {sorted(counts)} samples")
    return whole.pop(), counts.pop()
