"""The guard over two unsigned point results: the rules of comparison and of a single result."""

from __future__ import annotations

from edgeproof.contract.comparison import GuardAnalysis
from edgeproof.contract.plain_results import PlainResult
from edgeproof.contract.point_policy import PointComparison
from edgeproof.lab.conditions import conditions
from edgeproof.lab.guard import comparison as of_comparison
from edgeproof.lab.guard import result as of_result
from edgeproof.lab.guard.comparison import ComparisonCase
from edgeproof.lab.guard.result import ResultFacts
from edgeproof.lab.guard.verdict import conclude, guarded


def analyse_points(base: PlainResult, new: PlainResult, told: PointComparison) -> GuardAnalysis:
    """``told`` is the comparison of these two."""
    return guarded(lambda: _analysed(base, new, told))


def _analysed(base: PlainResult, new: PlainResult, told: PointComparison) -> GuardAnalysis:
    case = comparison_case(base, new, told)
    sides = (facts_of_result(base, "baseline"), facts_of_result(new, "candidate"))
    return conclude(
        [
            *(one for rule in of_comparison.RULES for one in rule(case)),
            *(one for facts in sides for rule in of_result.RULES for one in rule(facts)),
        ]
    )


def comparison_case(base: PlainResult, new: PlainResult, told: PointComparison) -> ComparisonCase:
    """As far as ``told`` found latency and accuracy comparable."""
    judged, found = told.judgement, conditions(base, new)
    comparable = "not_comparable" not in (judged.mean_ms, judged.p99_ms)
    same_inputs = judged.accuracy != "not_comparable"
    accuracy = told.accuracy.get(judged.accuracy_metric or "") if same_inputs else None
    return ComparisonCase(
        baseline_precision=base.precision,
        candidate_precision=new.precision,
        latency_delta_pct=told.mean_ms.delta_pct if comparable else None,
        faster=judged.mean_ms == "improvement",
        accuracy_delta_pp=accuracy.delta_pp if accuracy else None,
        less_accurate=judged.accuracy == "regression",
        shape_match=judged.shape_match,
        unlike_conditions=told.unlike,
        lesser=comparable and same_inputs and not (found.refusing or found.decisive),
        same_inputs=same_inputs,
    )


def facts_of_result(told: PlainResult, side: str) -> ResultFacts:
    """What a point result says of itself. It has no samples to look at, so its p99 is taken at its word."""
    resolved = told.extra.get("resolved_input_shapes") or told.extra.get("input_shapes")
    return ResultFacts(
        side=side,
        model=told.model,
        backend=told.engine,
        device=told.device,
        precision=told.precision,
        mean_ms=told.mean_ms,
        p99_ms=told.p99_ms,
        shape=(told.batch, told.height, told.width),
        artifact_path=told.runtime_artifact_path or _text(told.extra.get("runtime_artifact_path")),
        input_shapes_known=bool(resolved) or None not in (told.batch, told.height, told.width),
        run_config_known=bool(told.run_config),
        system_known=told.system is not None,
        quality_known=told.accuracy is not None,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
