"""What a worker's ``runtime_result`` must be, and how its fields are read. Pure.

Strict where the originals were not, and told whole: every violation at once, each with its place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import msgspec

from edgeproof.contract.errors import FieldError
from edgeproof.contract.plain_results import ALIASES, identity, is_dry_run
from edgeproof.contract.unsigned import MAX_DEPTH
from edgeproof.contract.worker import WorkerRuntimeResult

LATENCIES: Final = ("mean_ms", "p50_ms", "p95_ms", "p99_ms")
AXES: Final = ("batch", "height", "width")
LATENCY_TABLE: Final = ("mean", "min", "max", "std", "p50", "p90", "p95", "p99")
MAX_VIOLATIONS: Final = 50
_ROOT: Final = "$.runtime_result"
_DIGEST: Final = re.compile(r"[0-9A-Fa-f]{64}\Z")


def result_violations(result: Mapping[str, Any]) -> tuple[FieldError, ...]:
    """Everything that is wrong with a result, at most ``MAX_VIOLATIONS``; empty for a good one."""
    return tuple(islice(_violations(result), MAX_VIOLATIONS))


def wrong_digests(value: Any, path: str) -> Iterator[FieldError]:
    """Whatever in ``value`` calls itself a SHA-256, and is neither one nor null."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            where = f"{path}.{key}"
            if isinstance(one, Mapping | list):
                yield from wrong_digests(one, where)
            elif _is_digest_name(key) and one is not None and not _is_digest(one):
                yield FieldError(path=where, message="64 hexadecimal digits are expected")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from wrong_digests(one, f"{path}[{index}]")


def unfit_numbers(value: Any, path: str, depth: int = 0) -> Iterator[FieldError]:
    """NaN, infinities, and what nests too deeply to look for them."""
    if depth > MAX_DEPTH:
        yield FieldError(path=path, message="nested too deeply")
    elif isinstance(value, float) and not math.isfinite(value):
        yield FieldError(path=path, message="a number must be finite")
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from unfit_numbers(one, f"{path}.{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, one in enumerate(value):
            yield from unfit_numbers(one, f"{path}[{index}]", depth + 1)


def _violations(result: Mapping[str, Any]) -> Iterator[FieldError]:
    given = {**result, **identity(result)}
    wrong: set[str] = set()
    for field in msgspec.structs.fields(WorkerRuntimeResult):
        for found in _field_violations(field, given):
            wrong.add(field.name)
            yield found
    yield from unfit_numbers(result, _ROOT)
    if not is_dry_run(result):
        for name in LATENCIES:
            if name not in wrong and given[name] == 0:
                yield _violation(name, "zero only in a dry run")
    if not given.get("input_shapes"):
        for axis in AXES:
            if axis not in wrong and given[axis] is None:
                yield _violation(axis, "null only beside input_shapes")
    yield from _latencies(result.get("latency_ms"))
    yield from wrong_digests(result, _ROOT)


def _field_violations(field: msgspec.structs.FieldInfo, given: Mapping[str, Any]) -> Iterator[FieldError]:
    name = field.name
    aliases = ALIASES.get(name)
    missing = given.get(name) is None if aliases else name not in given
    if missing:
        if field.required:
            yield _violation(name, f"{' or '.join(aliases or (name,))} is required")
        return
    try:
        msgspec.convert(given[name], field.type, strict=True)
    except msgspec.ValidationError as error:
        what, at, inside = str(error).rpartition(" - at `$")
        yield _violation(name + inside.rstrip("`"), what) if at else _violation(name, str(error))


def _latencies(told: Any) -> Iterator[FieldError]:
    if told is None:
        return
    if not isinstance(told, Mapping):
        yield _violation("latency_ms", "Expected `object`")
        return
    for name in LATENCY_TABLE:
        value = told.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float | None) or (value or 0) < 0:
            yield _violation(f"latency_ms.{name}", "a number of at least 0 is expected")


def _is_digest_name(key: object) -> bool:
    return isinstance(key, str) and (key == "sha256" or key.endswith("_sha256"))


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and _DIGEST.match(value) is not None


def _violation(field: str, message: str) -> FieldError:
    return FieldError(path=f"{_ROOT}.{field}", message=message)
