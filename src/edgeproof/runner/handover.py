"""Takes over what a stage's child left in its workspace, believing nothing about it.

A child may leave links, pipes, endless files or nothing at all in place of what it should have written.
Called only once every process of the stage has ended.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final, TypeVar

from edgeproof.contract.canonical import decode_canonical
from edgeproof.contract.errors import Refused, StageFailed

T = TypeVar("T")
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def left_bytes(path: Path, bound: int) -> bytes:
    """A regular file's bytes, at most ``bound``. Raises ``StageFailed`` (``result_invalid``)."""
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        raise _invalid(f"{path.name} cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _invalid(f"{path.name} is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(bound + 1)
    if len(data) > bound:
        raise _invalid(f"{path.name} is larger than {bound} bytes")
    return data


def left_document(path: Path, type_: type[T], bound: int) -> bytes:
    """The canonical bytes of a ``type_``, as left. Raises ``StageFailed`` (``result_invalid``)."""
    data = left_bytes(path, bound)
    try:
        decode_canonical(data, type_, what=path.name)
    except Refused as error:
        raise _invalid(error.detail) from error
    return data


def left_file(workspace: Path, name: str, bound: int) -> Path:
    """A regular file inside ``workspace``. Raises ``StageFailed`` (``result_invalid``)."""
    path = workspace / name
    try:
        real = path.resolve(strict=True)
        kind = path.lstat()
    except (OSError, ValueError) as error:
        raise _invalid(f"the stage names a file that is not there: {name[:200]!r}") from error
    if not stat.S_ISREG(kind.st_mode) or not real.is_relative_to(workspace.resolve()):
        raise _invalid("the stage names a file outside its workspace")
    if kind.st_size > bound:
        raise _invalid(f"{path.name} is larger than {bound} bytes")
    return real


def disk_bytes(folder: Path) -> int:
    """What the files under ``folder`` occupy on disk, each once; what vanishes meanwhile does not count."""
    total, seen = 0, set[int]()
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                found = os.lstat(os.path.join(parent, name))  # noqa: PTH118 - a child may make very many
                if found.st_ino not in seen:
                    seen.add(found.st_ino)
                    total += found.st_blocks * 512
    return total


def _invalid(detail: str) -> StageFailed:
    return StageFailed("result_invalid", detail, fault="backend")
