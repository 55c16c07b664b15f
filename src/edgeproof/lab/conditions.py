"""Same conditions or not: what two unsigned results say of how they were made.

A difference that bears on latency makes a comparison conditional, or refuses it, and is never read as a
regression. Nor is a gain read as an improvement where a refusing or decisive one is known. Under a lesser one
(another engine or software, other counts, what only one side states) a gain counts, and the difference is
named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from edgeproof.contract.plain_results import PlainResult
from edgeproof.contract.point_policy import Comparability

RUN: Final[dict[str, tuple[str, ...]]] = {
    "power_mode": ("power_mode", "nvpmodel"),
    "clocks": ("jetson_clocks", "clocks"),
    "governor": ("governor",),
    "max_clocks": ("max_clocks",),
    "threads": ("threads",),
    "intra_threads": ("intra_threads",),
    "inter_threads": ("inter_threads",),
    "input_source": ("input_source", "input_mode"),
    "mode": ("mode",),
}
"""These change a latency by themselves."""

COUNTS: Final[dict[str, tuple[str, ...]]] = {"warmup": ("warmup",), "runs": ("runs",)}
SHAPE: Final = ("batch", "height", "width")
SYSTEM: Final = ("os", "python", "machine", "cpu_model", "cpu_count_logical")
DECISIVE_SYSTEM: Final = frozenset({"machine", "cpu_model", "cpu_count_logical"})
POWER: Final = ("power_mode", "clocks", "governor", "max_clocks")


@dataclass(frozen=True)
class Conditions:
    """What differs, in words. ``refusing``: nothing can be compared; ``decisive``: no latency can be
    judged; ``bearing``: only a slowdown cannot be laid on the candidate. ``power_told``: either side says
    something of its power mode or clocks. ``inputs``: what their sources say of one another; unknown where
    only one side states its own."""

    shape_match: bool
    system_match: bool
    refusing: tuple[str, ...]
    decisive: tuple[str, ...]
    bearing: tuple[str, ...]
    run_config_fields: tuple[str, ...]
    power_told: bool
    inputs: Literal["alike", "unlike", "unknown"]

    @property
    def comparability(self) -> Comparability:
        if self.refusing:
            return "no"
        return "conditional" if self.decisive or self.bearing else "yes"


def conditions(base: PlainResult, new: PlainResult) -> Conditions:
    """Compare what both say. What only one side says is unknown, so it bears but decides nothing; what
    neither says is taken for equal (ADR 24)."""
    refusing = [_words(name, getattr(base, name), getattr(new, name)) for name in SHAPE if
                getattr(base, name) != getattr(new, name)]  # fmt: skip
    shape_match = not refusing
    tasks = (_task(base), _task(new))
    if None not in tasks and tasks[0] != tasks[1]:
        refusing.append(_words("task", *tasks))
    decisive: list[str] = []
    bearing: list[str] = []
    fields: list[str] = []
    if base.device.lower() != new.device.lower():
        decisive.append(_words("device", base.device, new.device))
    if base.engine.lower() != new.engine.lower():
        bearing.append(_words("engine", base.engine, new.engine))
    for name, aliases in (RUN | COUNTS).items():
        before, after = _stated(base, aliases), _stated(new, aliases)
        if before == after:
            continue
        fields.append(name)
        known = before is not None and after is not None
        (decisive if known and name in RUN else bearing).append(_words(name, before, after))
    unlike_system = [
        (name, getattr(base.system, name, None), getattr(new.system, name, None))
        for name in SYSTEM
        if getattr(base.system, name, None) != getattr(new.system, name, None)
    ]
    for name, was, now in unlike_system:
        known = was is not None and now is not None
        (decisive if known and name in DECISIVE_SYSTEM else bearing).append(_words(name, was, now))
    return Conditions(
        shape_match=shape_match,
        system_match=not unlike_system,
        refusing=tuple(refusing),
        decisive=tuple(decisive),
        bearing=tuple(bearing),
        run_config_fields=tuple(fields),
        power_told=any(stated(one, name) is not None for one in (base, new) for name in POWER),
        inputs=_inputs(base, new),
    )


def stated(result: PlainResult, condition: str) -> str | None:
    """What a result says of one of ``RUN`` or ``COUNTS``, wherever it says it; None: nothing."""
    return _stated(result, (RUN | COUNTS)[condition])


def _inputs(base: PlainResult, new: PlainResult) -> Literal["alike", "unlike", "unknown"]:
    before, after = stated(base, "input_source"), stated(new, "input_source")
    if before == after:
        return "alike"
    return "unknown" if None in (before, after) else "unlike"


def _stated(result: PlainResult, names: tuple[str, ...]) -> str | None:
    """Looked up in ``extra``, then ``run_config``, then the top level; spelling and case do not matter."""
    for scope in (result.extra, result.run_config or {}):
        for name in names:
            if scope.get(name) is not None:
                return _spelled(scope[name])
    top = next((one for name in names if (one := getattr(result, name, None)) is not None), None)
    return None if top is None else _spelled(top)


def _task(result: PlainResult) -> str | None:
    named = result.accuracy.task if result.accuracy else None
    return named.lower() if named else _stated(result, ("task",))


def _spelled(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "".join(str(value).lower().split())


def _words(name: str, before: object, after: object) -> str:
    return f"{name} {_shown(before)} against {_shown(after)}"


def _shown(value: object) -> str:
    return "unstated" if value is None else str(value)
