"""Seed 000's response bundle: what a completed analyze job shows in ``result``.

A view of a verified dossier and of the decision made of it, as plain JSON values. It adds no number of
its own but differences of shown ones, and it is not signed: who wants proof reads the evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from edgeproof.contract.canonical import round6
from edgeproof.contract.comparison import Comparison
from edgeproof.contract.point_policy import LatencyLabel
from edgeproof.contract.results import RuntimeResult
from edgeproof.contract.statements import BuildStatement, DecisionEnvelopeStatement
from edgeproof.lab.compare import CONDITIONS
from edgeproof.lab.conditions import SHAPE, SYSTEM
from edgeproof.lab.dossier import Dossier
from edgeproof.lab.reasons import certificate_words
from edgeproof.lab.rendered import rendered
from edgeproof.lab.unsigned_bundle import RUN_CONFIG

LEGACY_METRICS: Final = ("mean_ms", "p50_ms", "p95_ms", "p99_ms")
SIDE_BY_SIDE: Final[dict[str, tuple[str | None, Sequence[str]]]] = {
    "shape": (None, SHAPE),
    "system": ("system", SYSTEM),
    "run_config": ("run_config", RUN_CONFIG),
}
"""The original's tables of both sides: where in a result their fields lie, and which they are."""


def response_bundle(
    dossier: Dossier, statement: DecisionEnvelopeStatement, decision_digest: str
) -> dict[str, Any]:
    """``decision_digest`` is that of the signed decision's envelope. Keys as reference section 1.

    ``guard_analysis`` is absent, not null, when the guard was not asked.
    """
    told = statement.predicate
    decision, comparison = told.deployment_decision, told.comparison
    measured = dossier.measurement.predicate
    baseline, candidate = measured.baseline, measured.candidate
    paths = {"base_path": baseline.runtime_artifact_path, "new_path": candidate.runtime_artifact_path}
    bundle: dict[str, Any] = {
        "basis": decision.basis,
        "summary": {
            "response_type": "analyze",
            "overall": comparison.overall,
            "comparison_mode": comparison.comparison_mode,
            "precision_pair": comparison.precision_pair,
            "deployment_decision": decision.decision,
            "guard_status": decision.guard_status,
            "guard_verdict": decision.guard_verdict,
        },
        "comparison": {
            "result": {
                **_plain(comparison),
                **{name: _change(name, baseline, candidate) for name in LEGACY_METRICS},
                **{name: _sides(baseline, candidate, *named) for name, named in SIDE_BY_SIDE.items()},
                "baseline_runtime_result": _plain(baseline),
                "runtime_result": _plain(candidate),
            },
            "judgement": _judgement(dossier, statement),
            "rendered": rendered(told),
        },
        "deployment_decision": _plain(decision),
        "provenance": _provenance(dossier),
        "metadata": {**paths, "legacy_warning": None},
        "timestamps": {"base": baseline.timestamp, "new": candidate.timestamp},
        "execution_info": {
            **paths,
            "engine": candidate.backend,
            "device": candidate.target,
            "precision": candidate.precision,
            "batch": candidate.batch,
            "height": candidate.height,
            "width": candidate.width,
            "selection_mode": "explicit",
            "legacy_warning": None,
        },
        "runtime_result": _plain(candidate),
        "forge_metadata": _forge_metadata(dossier.candidate_build),
        "evidence": _plain(told.evidence),
        "decision_digest": decision_digest,
    }
    if told.guard_analysis is not None:
        bundle["guard_analysis"] = _plain(told.guard_analysis)
    return bundle


def _judgement(dossier: Dossier, statement: DecisionEnvelopeStatement) -> dict[str, Any]:
    comparison, decision = statement.predicate.comparison, statement.predicate.deployment_decision
    unlike = list(_run_config_diff(dossier))
    return {
        "overall": comparison.overall,
        "shape_match": comparison.shape_match,
        "system_match": comparison.system_match,
        "precision_match": comparison.comparison_mode == "same_precision",
        "run_config_match": not unlike,
        "run_config_mismatch_fields": unlike,
        "comparison_mode": comparison.comparison_mode,
        "precision_pair": comparison.precision_pair,
        **{f"{metric}_ms": _label(comparison, metric) for metric in ("mean", "p99")},
        "tradeoff_risk": "not_applicable",  # this policy trades no accuracy for speed
        "latency": _plain(comparison.latency),
        "latency_shown": _plain(comparison.shown),
        "certified_percentiles": {
            one.metric: {**_plain(one), "words": certificate_words(one)} for one in comparison.percentiles
        },
        "accuracy": _plain(comparison.accuracy),
        "accuracy_present": comparison.accuracy is not None,
        "agreement": _plain(comparison.agreement),
        "thresholds": {
            "latency_margin_pct": {gate.metric: gate.margin_pct for gate in dossier.policy.latency.gates},
            "accuracy_margin_pp": dossier.policy.accuracy.margin_pp,
        },
        "summary": decision.reason,
        "notes": list(comparison.notes),
    }


def _provenance(dossier: Dossier) -> dict[str, Any]:
    measured = dossier.measurement.predicate
    candidate = measured.candidate
    sides = {"baseline": dossier.baseline_build, "candidate": dossier.candidate_build}
    return {
        "runtime": _plain(candidate.extra),
        "shape": {
            "batch": candidate.batch,
            "height": candidate.height,
            "width": candidate.width,
            "input_shapes": _plain(candidate.input_shapes),
        },
        "run_config_diff": _run_config_diff(dossier),
        "source_bundle": "signed_evidence",
        "forge": {side: None if build is None else _papers(build) for side, build in sides.items()},
        "builds": {"baseline": measured.config.baseline.build, "candidate": measured.config.candidate.build},
        "dataset": measured.config.dataset,
        "runner_key": measured.binding.runner_key,
        "control_plane_key": dossier.runtime_spec.predicate.control_plane_key,
        "isolation": measured.isolation,
        "environment": {
            "before": _plain(measured.environment_before),
            "after": _plain(measured.environment_after),
        },
    }


def _forge_metadata(build: BuildStatement | None) -> Any:
    """None for a candidate that came as an artifact: no forge of ours says anything of it."""
    return None if build is None else _papers(build)["metadata"]


def _papers(build: BuildStatement) -> dict[str, Any]:
    inside = build.predicate.buildDefinition.internalParameters
    return {
        "metadata": _plain(inside.metadata),
        "manifest": _plain(inside.manifest),
        "worker_runtime_summary": _plain(inside.worker_runtime_summary),
        "cached": _plain(inside.cached),
        "isolation": inside.isolation,
    }


def _run_config_diff(dossier: Dossier) -> dict[str, dict[str, Any]]:
    """Conditions of the run that the sides do not share; how many calls a side took is none."""
    measured = dossier.measurement.predicate
    before, after = measured.baseline.run_config, measured.candidate.run_config
    return {
        name: {"base": getattr(before, name), "new": getattr(after, name)}
        for name in CONDITIONS
        if getattr(before, name) != getattr(after, name)
    }


def _label(comparison: Comparison, metric: str) -> LatencyLabel:
    """The originals' word for a metric; ``unknown`` where it gates nothing or could not be decided."""
    gate = next((one for one in comparison.latency if one.metric == metric), None)
    if gate is None or gate.verdict in ("inconclusive", "not_decidable"):
        return "unknown"
    if gate.verdict == "regression":
        return "regression"
    return "improvement" if gate.improved else "neutral"


def _sides(
    baseline: RuntimeResult, candidate: RuntimeResult, place: str | None, names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """By field what each side says; null where a measurement of ours has no such field."""
    base, new = (one if place is None else getattr(one, place) for one in (baseline, candidate))
    return {name: {"base": getattr(base, name, None), "new": getattr(new, name, None)} for name in names}


def _change(name: str, baseline: RuntimeResult, candidate: RuntimeResult) -> dict[str, float]:
    base, new = float(getattr(baseline, name)), float(getattr(candidate, name))
    delta = new - base
    return {"base": base, "new": new, "delta": round6(delta), "delta_pct": round6(100 * delta / base)}


def _plain(value: Any) -> Any:
    """As it will be read back: lists, not tuples."""
    return msgspec.json.decode(msgspec.json.encode(value))
