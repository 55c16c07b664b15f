"""The response bundle of a job that an external worker completed: seed 000's ``analyze_worker_result``.

It has every key of the bundle of a comparison, and nothing was compared: there is one result and no pair,
so the decision is ``unknown`` and rests on unsigned evidence, whatever the worker or its guard say.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any, Final

import msgspec

from edgeproof.contract.comparison import GuardAnalysis, Reason
from edgeproof.contract.errors import Refused
from edgeproof.contract.guard import read_guard_analysis
from edgeproof.contract.plain_results import identity, is_dry_run
from edgeproof.contract.point_policy import UnsignedDecision
from edgeproof.contract.worker import WorkerCompleted
from edgeproof.lab.guard.normalise import normalised
from edgeproof.lab.guard.verdict import not_evaluated
from edgeproof.lab.reasons import guard_words
from edgeproof.lab.rendered import escape_markdown
from edgeproof.lab.unsigned_bundle import unjudged

RULE: Final = "worker_uncompared_unknown"
_EFFECT: Final = "One result of an external worker: nothing was compared yet."
_DRY_RUN: Final = "A dry run: nothing was executed, so there is nothing to compare."
_NOT_DRY: Final = "Let the worker execute its request, or prove the model on a runner of the fleet."
_ACTION: Final = "Compare this result with a baseline, or prove the model on a runner of the fleet."
# The guard's objections, in the words of the rules that would fire if there were a pair.
_GUARD_RULES: Final = {
    "error": ("guard_error_block", "The guard found an error.", "Mend what the guard evidence names first."),
    "warning": (
        "guard_warning_review",
        "The guard found something that a person should look at.",
        "Review the guard evidence first.",
    ),
    "skipped": (
        "guard_skipped_unknown",
        "The guard could not be evaluated, so its part of the evidence is missing.",
        "Ask the guard again.",
    ),
}


@dataclass(frozen=True)
class Sender:
    """Who answered, the digest of the answer's bytes, and the policy of the job."""

    worker: str
    response_digest: str
    policy_version: str
    policy_digest: str


def worker_bundle(response: WorkerCompleted, at: str, sender: Sender) -> dict[str, Any]:
    """The result of the job (``contract.bundle.ResponseBundle``), of a ``runtime_result`` that holds.

    ``guard_analysis`` is the worker's as it came; absent when absent, and ``skipped`` where it breaks its
    schema: an optional guard that failed fails nothing else.
    """
    result, told = response.runtime_result, response.guard_analysis
    guard, shown_guard = _guard(told)
    decision = _plain(_decision(is_dry_run(result), guard, sender))
    names = identity(result)
    axes = {axis: result[axis] for axis in ("batch", "height", "width")}
    extra = result.get("extra") or {}
    told_paths = (extra.get("runtime_artifact_path"), result.get("runtime_artifact_path"))
    path = next((one for one in told_paths if one and isinstance(one, str)), names["model"])
    paths = {"base_path": None, "new_path": path}
    words = decision["reason"]
    bundle: dict[str, Any] = {
        "basis": "unsigned",
        "summary": {
            "response_type": "analyze_worker_result",
            "overall": None,
            "comparison_mode": None,
            "precision_pair": None,
            "deployment_decision": decision["decision"],
            "guard_status": decision["guard_status"],
            "guard_verdict": decision["guard_verdict"],
        },
        "comparison": {
            "result": {"runtime_result": result, "baseline_runtime_result": None},
            "judgement": unjudged(words, [_DRY_RUN] if is_dry_run(result) else []),
            "rendered": {
                "markdown": f"**unknown**: {escape_markdown(words)}\n",
                "html": f"<p><strong>unknown</strong>: {escape(words)}</p>\n",
            },
        },
        "deployment_decision": decision,
        "provenance": {
            "runtime": extra,
            "forge_metadata": response.forge_metadata,
            "source_bundle": "worker_response",
            "shape": {**axes, "input_shapes": result.get("input_shapes")},
            "run_config_diff": {},
            "worker": sender.worker,
            "worker_response": sender.response_digest,
        },
        "metadata": {**paths, "legacy_warning": None},
        "timestamps": {"base": None, "new": result["timestamp"]},
        "execution_info": {
            **paths,
            "engine": names["engine"],
            "device": names["device"],
            "precision": result["precision"],
            **axes,
            "selection_mode": "worker_response",
            "legacy_warning": None,
            "dry_run": is_dry_run(result),
            "completed_at": at,
        },
        "runtime_result": result,
        "forge_metadata": response.forge_metadata,
        "evidence": [{"kind": "worker-response", "digest": sender.response_digest}],
    }
    if shown_guard is not None:
        bundle["guard_analysis"] = shown_guard
    return bundle


def _guard(told: dict[str, Any] | None) -> tuple[GuardAnalysis | None, dict[str, Any] | None]:
    """The guard's answer as ours, and as it is kept: the sender's own words wherever they hold."""
    if told is None:
        return None, None
    try:
        return normalised(read_guard_analysis(told)), told
    except Refused as error:
        skipped = not_evaluated(error.detail)
        return skipped, _plain(skipped)


def _decision(dry_run: bool, guard: GuardAnalysis | None, sender: Sender) -> UnsignedDecision:
    effect = _DRY_RUN if dry_run else _EFFECT
    reasons = [
        _reason(RULE, effect, {"execution": "dry_run" if dry_run else "real", "overall": "absent"}, ())
    ]
    action = last = _NOT_DRY if dry_run else _ACTION
    if guard is not None and (rule := _GUARD_RULES.get(guard.status)) is not None:
        id_, said, first = rule
        reasons.append(_reason(id_, said, {"guard": guard.status}, (guard_words(guard),)))
        action = f"{first} {last}"
    return UnsignedDecision(
        decision="unknown",
        reason=" ".join(one.effect for one in reasons),
        lab_overall=None,
        guard_status=guard.status if guard else None,
        guard_verdict=guard.guard_verdict if guard else None,
        recommended_action=action,
        policy_version=sender.policy_version,
        policy_digest=sender.policy_digest,
        triggered_rules=tuple(one.rule for one in reasons),
        reasons=tuple(reasons),
    )


def _reason(rule: str, effect: str, facts: dict[str, str], details: tuple[str, ...]) -> Reason:
    return Reason(rule=rule, decision="unknown", effect=effect, facts=facts, details=details)


def _plain(value: Any) -> Any:
    """As it will be read back: lists, not tuples."""
    return msgspec.json.decode(msgspec.json.encode(value))
