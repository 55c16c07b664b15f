"""The file of traces: one JSON document a line, appended and synced one at a time.

A crash can cost the last line at most: a line without its end is cut off before anything is appended, and
not read. One file is of one machine, one plan and one engine, as its session lines say, and has one recorder
at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Literal

import msgspec

from edgeproof.contract.errors import Refused
from edgeproof.contract.results import SystemInfo
from edgeproof.contract.samples import SideSamples
from edgeproof.contract.statements import DuetPlan

SCHEMA: Final = "edgeproof-verdict-traces-v1"
Condition = Literal["quiet", "load"]


class Session(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="session"):
    """One call of the recorder. ``plan`` is what its rotations follow; its gates are of no account.

    ``same_processors``: all processes of a rotation are bound to as many processors as a model has threads.
    """

    schema_version: str
    at: str
    condition: Condition
    system: SystemInfo
    versions: dict[str, str]
    processors: int
    threads: int
    load_1m: float
    plan: DuetPlan
    same_processors: bool = False


def unlike(one: Session, other: Session) -> tuple[str, ...]:
    """What keeps traces of two sessions from being counted together: none of it may differ.

    Gates, looks and confidence of a plan are the judge's to choose, afterwards.
    """
    facts = {
        "processor": (one.system.cpu_model, other.system.cpu_model),
        "processors": (one.processors, other.processors),
        "threads": (one.threads, other.threads),
        "same processors": (one.same_processors, other.same_processors),
        "onnxruntime": (one.versions.get("onnxruntime"), other.versions.get("onnxruntime")),
        **{
            f"plan.{name}": (getattr(one.plan, name), getattr(other.plan, name))
            for name in DuetPlan.__struct_fields__
            if name not in ("gates", "looks", "confidence")
        },
    }
    return tuple(f"{name} {before} and {now}" for name, (before, now) in facts.items() if before != now)


class Sequential(msgspec.Struct, frozen=True, kw_only=True):
    """Calls (ns) of one process alone, as most benchmarks run: before and after the interleaved blocks."""

    before: tuple[int, ...]
    after: tuple[int, ...]


class Rotation(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="rotation"):
    """Fresh processes of all variants, interleaved. ``order`` is that of the first round.

    ``sequential`` is empty in the rotations that did not record it.
    """

    at: str
    condition: Condition
    model: str
    index: int
    seconds: float
    order: tuple[str, ...]
    sides: dict[str, SideSamples]
    sequential: dict[str, Sequential]


class TimedDuet(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="duet"):
    """A whole measurement as a runner does it: its wall time, and the verdict it came to."""

    at: str
    condition: Condition
    model: str
    candidate: str
    seconds: float
    pairs: int
    verdict: str


Record = Session | Rotation | TimedDuet
_DECODER: Final = msgspec.json.Decoder(Record)


def read(path: Path) -> Iterator[Record]:
    """Every whole line. Raises ``Refused`` (``artifact_missing``, ``result_invalid`` with the line)."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    yield _record(line, number, path)
    except OSError as error:
        raise Refused("artifact_missing", f"{path}: {error.strerror}") from error


def _record(line: bytes, number: int, path: Path) -> Record:
    try:
        record: Record = _DECODER.decode(line)
    except msgspec.MsgspecError as error:
        raise Refused("result_invalid", f"{path}, line {number}: {error}") from error
    if isinstance(record, Session) and record.schema_version != SCHEMA:
        raise Refused("result_invalid", f"{path}, line {number}: {record.schema_version} is not {SCHEMA}")
    return record


class TraceLog:
    """Appends records; each is on the disk when ``append`` returns."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def append(self, record: Record) -> None:
        self._file.write(msgspec.json.encode(record) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@contextlib.contextmanager
def appending(path: Path, *, resume: bool) -> Iterator[TraceLog]:
    """A log at the end of ``path``, ours alone.

    Raises ``Refused`` (``conflict``) if it exists and is no resumption, or another recorder has it.
    """
    if path.exists() and not resume:
        raise Refused("conflict", f"{path} exists: continue it with --resume, or name another file")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused("conflict", f"another recorder is writing to {path}") from error
        _cut_torn_line(file)
        yield TraceLog(file)


def _cut_torn_line(file: BinaryIO) -> None:
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 65536)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            file.truncate(start + found + 1)
            return
        end = start
    file.truncate(0)
