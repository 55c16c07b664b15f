"""An unsigned runtime result as other tools write it (seed 000; reference sections 1, 2 and 5).

Aliases are read at the edge, numbers must be numbers, unknown fields are ignored. ``extra`` and
``run_config`` stay open, since every generation wrote its conditions somewhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import Meta, field

from edgeproof.contract.base import Wire
from edgeproof.contract.errors import FieldError, Refused
from edgeproof.contract.ids import Name
from edgeproof.contract.unsigned import read_unsigned

Milliseconds = Annotated[float, Meta(ge=0, le=1e9)]
"""Zero only in a dry run."""
Axis = Annotated[int, Meta(ge=1, le=1_000_000)]

ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "model": ("model", "model_path"),
    "engine": ("engine", "engine_backend", "backend"),
    "device": ("device", "device_name", "target"),
}
"""The first that is given as text counts; see ``identity``."""
LATENCIES: Final = ("mean_ms", "p50_ms", "p95_ms", "p99_ms")


class PlainAccuracy(Wire, frozen=True, kw_only=True):
    """``metrics`` are fractions, by name."""

    task: Name | None = None
    metrics: Annotated[dict[str, float], Meta(min_length=1, max_length=100)]


class PlainSystem(Wire, frozen=True, kw_only=True):
    os: str | None = None
    python: str | None = None
    machine: str | None = None
    cpu_model: str | None = None
    cpu_count_logical: Axis | None = None


class PlainResult(Wire, frozen=True, kw_only=True):
    """One result. ``mean_ms`` is required; ``system`` and ``run_config`` are absent in legacy ones."""

    model: Name
    engine: Name
    device: Name
    precision: Name = "fp32"
    batch: Axis | None = None
    height: Axis | None = None
    width: Axis | None = None
    mean_ms: Milliseconds
    p50_ms: Milliseconds | None = None
    p95_ms: Milliseconds | None = None
    p99_ms: Milliseconds | None = None
    timestamp: Name | None = None
    runtime_artifact_path: str | None = None
    accuracy: PlainAccuracy | None = None
    system: PlainSystem | None = None
    run_config: dict[str, Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    power_mode: Any = None
    jetson_clocks: Any = None
    input_mode: Any = None

    @property
    def legacy(self) -> bool:
        """Whether the file says nothing of the conditions under which it was made."""
        return self.system is None and self.run_config is None

    @property
    def dry_run(self) -> bool:
        """As ``is_dry_run`` has it."""
        return is_dry_run({"run_config": self.run_config, "extra": self.extra})


def is_dry_run(result: Mapping[str, Any]) -> bool:
    """Whether a result says that nothing was executed for it: such a one is never compared."""
    config, extra = result.get("run_config"), result.get("extra")
    config = config if isinstance(config, Mapping) else {}
    extra = extra if isinstance(extra, Mapping) else {}
    return (
        config.get("dry_run") is True
        or extra.get("dry_run") is True
        or extra.get("worker_response_mode") == "dry_run"
    )


def identity(result: Mapping[str, Any]) -> dict[str, Any]:
    """``model``, ``engine`` and ``device`` by the first of their names that is a text.

    The originals' Runtime writes ``model``, ``engine`` and ``device`` as objects beside ``model_path``,
    ``engine_backend`` and ``device_name``. Where no name is a text, whatever else was given, or None.
    """
    found: dict[str, Any] = {}
    for name, aliases in ALIASES.items():
        given = [result[alias] for alias in aliases if result.get(alias) is not None]
        found[name] = next((one for one in given if isinstance(one, str)), given[0] if given else None)
    return found


def read_plain_result(value: Any, *, what: str = "runtime_result") -> PlainResult:
    """``value`` (as JSON decodes) as a result, ``null`` as absent. Raises ``Refused`` (``result_invalid``).

    ``"fast"``, ``null``, ``true`` and NaN are no latency; ``0`` is one only in a dry run.
    """
    if not isinstance(value, dict):
        raise Refused("result_invalid", f"{what}: a JSON object is expected")
    known = {key: one for key, one in value.items() if one is not None}
    for name, given in identity(known).items():
        if given is None:
            raise _invalid(what, name, f"one of {', '.join(ALIASES[name])} is required")
        known[name] = given
    result = read_unsigned(known, PlainResult, what=what, code="result_invalid")
    for name in LATENCIES:
        if getattr(result, name) == 0 and not result.dry_run:
            raise _invalid(what, name, "zero only in a dry run")
    return result


def _invalid(what: str, name: str, message: str) -> Refused:
    path = f"$.{name}"
    return Refused(
        "result_invalid", f"{what}: {path}: {message}", errors=(FieldError(path=path, message=message),)
    )
