"""The named policy ``inferedge-v1``: two unsigned point results, compared and judged as the originals did,
but under same-condition rules (``lab.conditions``).

A decision of this file has ``basis`` unsigned, whatever it says: there are no samples, so no intervals.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Final

import msgspec

from edgeproof.contract.canonical import digest_of, round6
from edgeproof.contract.comparison import GuardAnalysis, Overall, Reason
from edgeproof.contract.errors import FieldError, Refused
from edgeproof.contract.plain_results import PlainResult
from edgeproof.contract.point_policy import (
    AccuracyLabel,
    LatencyLabel,
    PointComparison,
    PointDelta,
    PointJudgement,
    PointPolicy,
    PointThresholds,
    ThresholdChanges,
    TradeoffRisk,
    UnsignedDecision,
)
from edgeproof.lab.compare import Mode, comparison_mode
from edgeproof.lab.conditions import Conditions, conditions
from edgeproof.lab.decide import fired

PRIMARY: Final = {"classification": "top1_accuracy", "detection": "map50"}


CHANGED: Final = "-changed"
_ORDERED: Final = (
    ("latency_improve_pct", "latency_regress_pct"),
    ("accuracy_regress_pp", "accuracy_improve_pp"),
    ("tradeoff_severe_pp", "tradeoff_risky_pp"),
    ("tradeoff_risky_pp", "tradeoff_caution_pp"),
)


@lru_cache(maxsize=1)
def inferedge_policy() -> PointPolicy:
    """``inferedge-v1``, as packaged."""
    text = (resources.files("edgeproof.lab") / "inferedge-v1.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), PointPolicy)


def with_thresholds(policy: PointPolicy, changes: ThresholdChanges) -> PointPolicy:
    """``policy`` under other thresholds, and then under another name, so that no decision seems to be its.

    Raises ``Refused`` (``invalid_request``) for thresholds that contradict one another.
    """
    given = {
        name: value
        for name in changes.__struct_fields__
        if (value := getattr(changes, name)) is not None and value != getattr(policy.thresholds, name)
    }
    if not given:
        return policy
    limits = msgspec.structs.replace(policy.thresholds, **given)
    for lower, upper in _ORDERED:
        if getattr(limits, lower) > getattr(limits, upper):
            message = f"{lower} may not be above {upper}"
            raise Refused(
                "invalid_request",
                f"thresholds: {message}",
                errors=(FieldError(path=f"$.thresholds.{lower}", message=message),),
            )
    return msgspec.structs.replace(policy, name=f"{policy.name}{CHANGED}", thresholds=limits)


def compare_points(
    base: PlainResult, new: PlainResult, thresholds: PointThresholds | None = None
) -> PointComparison:
    """Both results, their differences and what they come to. ``thresholds`` default to the policy's."""
    limits = thresholds or inferedge_policy().thresholds
    mean, p99 = _delta(base.mean_ms, new.mean_ms), _delta(base.p99_ms, new.p99_ms)
    accuracy = _accuracies(base, new)
    metric = _primary(base, new, accuracy)
    drop = accuracy[metric].delta_pp if metric else None
    found = conditions(base, new)
    mode = comparison_mode(base.precision, new.precision)
    labels = (
        _latency_label(mean.delta_pct, found, limits),
        _latency_label(p99.delta_pct, found, limits),
    )
    accuracy_label = _accuracy_label(drop, found, limits)
    overall = _overall(mode, found, labels, accuracy_label)
    notes = _notes(base, new, found, accuracy_label)
    return PointComparison(
        mean_ms=mean,
        p50_ms=_delta(base.p50_ms, new.p50_ms),
        p95_ms=_delta(base.p95_ms, new.p95_ms),
        p99_ms=p99,
        accuracy=accuracy,
        unlike=(*found.refusing, *found.decisive, *found.bearing),
        judgement=PointJudgement(
            overall=overall,
            comparability=found.comparability,
            shape_match=found.shape_match,
            system_match=found.system_match,
            precision_match=mode == "same_precision",
            run_config_match=not found.run_config_fields,
            run_config_mismatch_fields=found.run_config_fields,
            comparison_mode=mode,
            precision_pair=f"{base.precision.lower()}_vs_{new.precision.lower()}",
            mean_ms=labels[0],
            p99_ms=labels[1],
            accuracy=accuracy_label,
            accuracy_metric=metric,
            accuracy_present=metric is not None,
            tradeoff_risk=_risk(mode, labels, None if accuracy_label == "not_comparable" else drop, limits),
            thresholds=limits,
            summary=_summary(overall, mean, metric, drop),
            notes=notes,
        ),
    )


def decide_points(
    comparison: PointComparison, guard: GuardAnalysis | None, policy: PointPolicy | None = None
) -> UnsignedDecision:
    """By the rule table of ``policy``, by default ``inferedge-v1``. ``guard`` None: it was not asked."""
    judged = comparison.judgement
    return _decided(
        policy or inferedge_policy(),
        facts_of_points(comparison, guard),
        guard,
        judged.overall,
        (judged.summary, *judged.notes),
    )


def decide_dry_run(
    guard: GuardAnalysis | None, words: Sequence[str], policy: PointPolicy | None = None
) -> UnsignedDecision:
    """Where a result is a dry run's: nothing is compared, and what a guard says of it decides nothing."""
    return _decided(policy or inferedge_policy(), {"execution": "dry_run"}, guard, None, tuple(words))


def _decided(
    policy: PointPolicy,
    facts: Mapping[str, str],
    guard: GuardAnalysis | None,
    overall: Overall | None,
    words: tuple[str, ...],
) -> UnsignedDecision:
    rules = fired(policy.rules, facts)
    details = (*words, *([guard.primary_reason] if guard else []))
    return UnsignedDecision(
        decision=rules[0].decision,
        reason=" ".join((rules[0].effect, *words[:1])),
        lab_overall=overall,
        guard_status=guard.status if guard else None,
        guard_verdict=guard.guard_verdict if guard else None,
        recommended_action=rules[0].action,
        policy_version=policy.name,
        policy_digest=digest_of(policy),
        triggered_rules=tuple(rule.id for rule in rules),
        reasons=tuple(
            Reason(
                rule=rule.id,
                decision=rule.decision,
                effect=rule.effect,
                facts={name: facts[name] for name in rule.when},
                details=details,
            )
            for rule in rules
        ),
    )


def facts_of_points(comparison: PointComparison, guard: GuardAnalysis | None) -> dict[str, str]:
    """One value for each fact that the rules may ask about."""
    judged = comparison.judgement
    return {
        "execution": "real",
        "guard": guard.status if guard else "absent",
        "overall": judged.overall,
        "comparability": judged.comparability,
        "shape": "match" if judged.shape_match else "mismatch",
        "system": "match" if judged.system_match else "mismatch",
        "tradeoff_risk": judged.tradeoff_risk,
    }


def _delta(base: float | None, new: float | None, *, points: bool = False) -> PointDelta:
    if base is None or new is None:
        return PointDelta(base=base, new=new, delta=None, delta_pct=None)
    delta = new - base
    return PointDelta(
        base=base,
        new=new,
        delta=round6(delta),
        delta_pct=round6(100 * delta / base) if base else None,
        delta_pp=round6(100 * delta) if points else None,
    )


def _accuracies(base: PlainResult, new: PlainResult) -> dict[str, PointDelta]:
    before: Mapping[str, float] = base.accuracy.metrics if base.accuracy else {}
    after: Mapping[str, float] = new.accuracy.metrics if new.accuracy else {}
    return {
        name: _delta(before.get(name), after.get(name), points=True)
        for name in dict.fromkeys([*before, *after])
    }


def _primary(base: PlainResult, new: PlainResult, accuracy: Mapping[str, PointDelta]) -> str | None:
    """The task's metric if both sides have it, else the first that both have."""
    both = [name for name, one in accuracy.items() if one.delta is not None]
    task = next((one.accuracy.task for one in (new, base) if one.accuracy and one.accuracy.task), "")
    wanted = PRIMARY.get(task.lower())
    return wanted if wanted in both else next(iter(both), None)


def _latency_label(delta_pct: float | None, found: Conditions, limits: PointThresholds) -> LatencyLabel:
    if delta_pct is None:
        return "unknown"
    if found.refusing or found.decisive:
        return "not_comparable"
    if delta_pct >= limits.latency_regress_pct:
        return "not_comparable" if found.bearing else "regression"
    return "improvement" if delta_pct <= limits.latency_improve_pct else "neutral"


def _accuracy_label(delta_pp: float | None, found: Conditions, limits: PointThresholds) -> AccuracyLabel:
    """Other inputs have another accuracy; power, clocks and threads change none."""
    if delta_pp is None:
        return "unknown"
    if found.refusing or found.inputs == "unlike":
        return "not_comparable"
    if delta_pp <= limits.accuracy_regress_pp:
        return "regression" if found.inputs == "alike" else "not_comparable"
    return "improvement" if delta_pp >= limits.accuracy_improve_pp else "neutral"


def _overall(
    mode: Mode, found: Conditions, labels: tuple[LatencyLabel, LatencyLabel], accuracy: AccuracyLabel
) -> Overall:
    mean = labels[0]
    cross = mode == "cross_precision"
    if found.refusing:
        return "mismatch"
    if "regression" in labels:
        return "tradeoff_slower" if cross else "regression"
    if accuracy == "regression" and not cross:
        return "regression"
    if "not_comparable" in (*labels, accuracy):
        return "inconclusive"
    if _faster(labels):
        return "tradeoff_faster" if cross else "improvement"
    if cross:
        return "tradeoff_neutral"
    return "improvement" if accuracy == "improvement" and mean in ("neutral", "unknown") else "neutral"


def _faster(labels: tuple[LatencyLabel, LatencyLabel]) -> bool:
    return labels[0] == "improvement" and labels[1] in ("improvement", "neutral")


def _risk(
    mode: Mode,
    labels: tuple[LatencyLabel, LatencyLabel],
    drop: float | None,
    limits: PointThresholds,
) -> TradeoffRisk:
    if mode == "same_precision":
        return "not_applicable"
    if "regression" in labels:
        return "not_beneficial"
    faster = _faster(labels)
    if drop is None:
        return "unknown_risk" if faster else "no_clear_tradeoff"
    if drop <= limits.tradeoff_severe_pp:
        return "severe_tradeoff"
    if drop <= limits.tradeoff_risky_pp:
        return "risky_tradeoff"
    if drop <= limits.tradeoff_caution_pp:
        return "caution_tradeoff"
    return "acceptable_tradeoff" if faster else "no_clear_tradeoff"


def _notes(
    base: PlainResult, new: PlainResult, found: Conditions, accuracy: AccuracyLabel
) -> tuple[str, ...]:
    notes = [f"not comparable: {one}" for one in found.refusing]
    notes += [f"conditions differ, so latency is not judged: {one}" for one in found.decisive]
    notes += [f"conditions differ: {one}" for one in found.bearing]
    if accuracy == "not_comparable" and not found.refusing:
        notes.append("accuracy is not judged: it may have been measured on other inputs")
    notes += [
        f"the {side} is a legacy result that says nothing of its conditions"
        for side, one in (("baseline", base), ("candidate", new))
        if one.legacy
    ]
    if not found.power_told and not (base.legacy or new.legacy):
        notes.append(
            "neither result tells its power mode or clocks: that they were alike is taken for granted"
        )
    return tuple(notes)


def _summary(overall: Overall, mean: PointDelta, metric: str | None, drop: float | None) -> str:
    words = f"{overall.replace('_', ' ')}: mean {mean.base} ms to {mean.new} ms"
    if mean.delta_pct is not None:
        words += f" ({mean.delta_pct:+.4g} %)"
    if metric is not None and drop is not None:
        words += f", {metric} {drop:+.4g} percentage points"
    return f"{words}."
