"""The response bundle of two unsigned results: what ``POST /api/compare`` answers. Pure, and never signed.

``compare_unsigned`` does all of it: read, compare, ask or read the guard, decide, show. Whatever it says,
its ``basis`` is ``unsigned``. A dry run's result is never compared: the decision is then ``unknown``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from edgeproof.contract.comparison import GuardAnalysis
from edgeproof.contract.errors import Refused
from edgeproof.contract.guard import read_guard_analysis
from edgeproof.contract.plain_results import PlainResult, read_plain_result
from edgeproof.contract.point_policy import PointComparison, PointJudgement, PointPolicy, UnsignedDecision
from edgeproof.lab.conditions import COUNTS, RUN, SHAPE, SYSTEM, stated
from edgeproof.lab.guard.normalise import normalised
from edgeproof.lab.guard.points import analyse_points
from edgeproof.lab.guard.verdict import not_evaluated
from edgeproof.lab.inferedge import compare_points, decide_dry_run, decide_points
from edgeproof.lab.rendered import template

SelectionMode = Literal["explicit", "same_precision", "cross_precision"]
RUN_CONFIG: Final = (*RUN, *COUNTS, "task")


@dataclass(frozen=True, kw_only=True)
class Side:
    """One result as it came (``body``, a JSON value), how its sender calls it, and where it is kept.

    ``path`` is a label that nothing opens. ``origin`` is shown in ``provenance`` as it is.
    """

    body: Any
    path: str | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)


def compare_unsigned(
    base: Side,
    new: Side,
    policy: PointPolicy,
    *,
    guard_analysis: Any = None,
    with_guard: bool = False,
    selection_mode: SelectionMode = "explicit",
) -> dict[str, Any]:
    """The bundle, as plain JSON values (``contract.bundle.ResponseBundle``).

    ``guard_analysis`` is another guard's answer of either generation, kept as it came; ``with_guard`` asks
    ours. With neither the key is absent and no guard was asked.

    Raises:
        Refused: ``result_invalid`` naming the side; ``invalid_request`` for a guard's answer of the wrong
            form, or for both guards at once.
    """
    before = read_plain_result(base.body, what="base_result")
    after = read_plain_result(new.body, what="new_result")
    if guard_analysis is not None and with_guard:
        raise Refused("invalid_request", "give guard_analysis or ask with with_guard, not both")
    told = None if _dry(before, after) else compare_points(before, after, policy.thresholds)
    guard = None if guard_analysis is None else normalised(read_guard_analysis(guard_analysis))
    shown_guard = guard_analysis
    if with_guard:
        guard = analyse_points(before, after, told) if told else not_evaluated("a dry run has no evidence")
        shown_guard = _plain(guard)
    if told is None:
        decision = decide_dry_run(guard, _dry(before, after), policy)
    else:
        decision = decide_points(told, guard, policy)
    made = _Compared(base, new, before, after, told, guard, decision, policy)
    return _bundle(made, shown_guard, selection_mode)


@dataclass(frozen=True)
class _Compared:
    base: Side
    new: Side
    before: PlainResult
    after: PlainResult
    told: PointComparison | None
    guard: GuardAnalysis | None
    decision: UnsignedDecision
    policy: PointPolicy


def _bundle(made: _Compared, shown_guard: Any, selection_mode: SelectionMode) -> dict[str, Any]:
    decision, after = made.decision, made.after
    judged = made.told.judgement if made.told else None
    paths = {
        "base_path": made.base.path,
        "new_path": made.new.path,
        "legacy_warning": _legacy_warning(made.before, after),
    }
    bundle: dict[str, Any] = {
        "basis": "unsigned",
        "summary": {
            "response_type": "compare",
            "overall": judged.overall if judged else None,
            "comparison_mode": judged.comparison_mode if judged else None,
            "precision_pair": judged.precision_pair if judged else None,
            "deployment_decision": decision.decision,
            "guard_status": decision.guard_status,
            "guard_verdict": decision.guard_verdict,
        },
        "comparison": {
            "result": _result(made),
            "judgement": _plain(judged) if judged else unjudged(decision.reason, _dry(made.before, after)),
            "rendered": _rendered(made),
        },
        "deployment_decision": _plain(decision),
        "provenance": {
            "runtime": _plain(after.extra),
            "shape": {name: getattr(after, name) for name in SHAPE},
            "run_config_diff": _unlike(made),
            "source_bundle": "unsigned_results",
            "origin": {"base": dict(made.base.origin), "new": dict(made.new.origin)},
        },
        "metadata": paths,
        "timestamps": {"base": made.before.timestamp, "new": after.timestamp},
        "execution_info": {
            **paths,
            "engine": after.engine,
            "device": after.device,
            "precision": after.precision,
            **{name: getattr(after, name) for name in SHAPE},
            "selection_mode": selection_mode,
        },
    }
    if shown_guard is not None:
        bundle["guard_analysis"] = shown_guard
    return bundle


def _result(made: _Compared) -> dict[str, Any]:
    """Both results side by side, value by value, and each as it came."""
    told, before, after = made.told, made.before, made.after
    compared = (
        {name: _plain(getattr(told, name)) for name in ("mean_ms", "p50_ms", "p95_ms", "p99_ms", "accuracy")}
        if told
        else {}
    )
    return {
        **compared,
        "shape": {name: {"base": getattr(before, name), "new": getattr(after, name)} for name in SHAPE},
        "system": {
            name: {"base": getattr(before.system, name, None), "new": getattr(after.system, name, None)}
            for name in SYSTEM
        },
        "run_config": {
            name: {"base": (before.run_config or {}).get(name), "new": (after.run_config or {}).get(name)}
            for name in RUN_CONFIG
        },
        "unlike": list(told.unlike) if told else [],
        "baseline_runtime_result": made.base.body,
        "runtime_result": made.new.body,
    }


def _unlike(made: _Compared) -> dict[str, Any]:
    fields = made.told.judgement.run_config_mismatch_fields if made.told else ()
    return {name: {"base": stated(made.before, name), "new": stated(made.after, name)} for name in fields}


def unjudged(summary: str, notes: Sequence[str]) -> dict[str, Any]:
    """Every key of a judgement, and no judgement: for where nothing was compared."""
    return {
        **dict.fromkeys(PointJudgement.__struct_fields__),
        "run_config_mismatch_fields": [],
        "accuracy_present": False,
        "summary": summary,
        "notes": list(notes),
    }


def _rendered(made: _Compared) -> dict[str, str]:
    facts = {
        "decision": made.decision,
        "comparison": made.told,
        "latencies": ("mean_ms", "p50_ms", "p95_ms", "p99_ms"),
        "guard": made.guard,
        "names": {"base": _name(made.base, made.before), "new": _name(made.new, made.after)},
    }
    return {
        "markdown": template("unsigned.md.j2").render(facts),
        "html": template("unsigned.html.j2").render(facts),
    }


def _name(side: Side, told: PlainResult) -> str:
    return side.path or f"{told.model} {told.precision} on {told.engine}, {told.device}"


def _dry(before: PlainResult, after: PlainResult) -> tuple[str, ...]:
    sides = (("baseline", before), ("candidate", after))
    words = "is a dry run's result: nothing was executed for it."
    return tuple(f"The {name} {words}" for name, one in sides if one.dry_run)


def _legacy_warning(before: PlainResult, after: PlainResult) -> str | None:
    legacy = [name for name, one in (("base", before), ("new", after)) if one.legacy]
    if not legacy:
        return None
    return f"{' and '.join(legacy)}: a legacy result, without system and run_config"


def _plain(value: Any) -> Any:
    """As it will be read back: lists, not tuples."""
    return msgspec.json.decode(msgspec.json.encode(value))
