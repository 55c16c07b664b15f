"""Rules over how two results compare (reference section 4, "compare").

They say what a person should know of a comparison; whether a latency or an accuracy got worse beyond its
margin is the comparison's own verdict, and not said again here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from edgeproof.contract.comparison import GuardEvidence
from edgeproof.lab.guard.item import Severity, Status, item, skipped

LARGE_EFFECT_PCT: Final = 30.0
EXPECTED_SPEEDUP_PCT: Final = 10.0
REDUCED: Final = frozenset({"fp16", "int8"})
WIDTH: Final = {"fp64": 64, "fp32": 32, "fp16": 16, "int8": 8}


@dataclass(frozen=True)
class ComparisonCase:
    """Candidate against baseline.

    ``latency_delta_pct`` is None where latencies may not be compared; ``faster`` and ``less_accurate``
    are the comparison's own verdicts. ``outputs_agree``: the outputs were compared on equal inputs, and
    agree; None, they were not compared. ``lesser``: the conditions that differ left both to be judged.
    ``same_inputs``: both accuracies are known to be of the same inputs, else they may not be compared.
    """

    baseline_precision: str
    candidate_precision: str
    latency_delta_pct: float | None
    faster: bool
    accuracy_delta_pp: float | None
    less_accurate: bool
    shape_match: bool
    unlike_conditions: tuple[str, ...] = ()
    outputs_agree: bool | None = None
    lesser: bool = False
    same_inputs: bool = True


Rule = Callable[[ComparisonCase], Iterator[GuardEvidence]]


def unreliable_comparison(case: ComparisonCase) -> Iterator[GuardEvidence]:
    """Other shapes or conditions: for review whatever the numbers, which say nothing of the candidate. A note
    where the difference is a lesser one."""
    unlike = (() if case.shape_match else ("shapes",)) + case.unlike_conditions
    yield item(
        "unreliable_comparison",
        "conditions",
        status="warning" if unlike else "passed",
        severity="low" if case.lesser and case.shape_match else "high",
        explanation=f"the sides differ in: {'; '.join(unlike)}" if unlike else "the conditions are alike",
        why="A difference in conditions looks like a difference of the candidate.",
        cause="The two results were not made under the same conditions.",
        recommendation="Measure both sides under equal conditions.",
    )


def accuracy_missing_warning(case: ComparisonCase) -> Iterator[GuardEvidence]:
    """Faster, and nobody knows whether it is as accurate; a note where the outputs at least agree."""
    missing = case.faster and case.accuracy_delta_pp is None
    yield item(
        "accuracy_missing_warning",
        "accuracy",
        status="warning" if missing else "passed",
        severity="low" if case.outputs_agree else "medium",
        explanation=(
            f"faster, but {_no_accuracy(case)}"
            + ("; the outputs agree with the baseline's" if case.outputs_agree else "")
            if missing
            else "accuracy was measured"
            if case.accuracy_delta_pp is not None
            else "no speedup is claimed that accuracy would have to answer for"
        ),
        why="Speed alone does not make a candidate better.",
        cause="No labelled data set was given.",
        recommendation="Analyse with a labelled data set.",
    )


def risky_tradeoff(case: ComparisonCase) -> Iterator[GuardEvidence]:
    """Faster, and less accurate beyond the margin."""
    if case.accuracy_delta_pp is None:
        yield skipped("risky_tradeoff", "accuracy", _no_accuracy(case))
        return
    risky = case.faster and case.less_accurate
    yield item(
        "risky_tradeoff",
        "accuracy_delta_pp",
        status="warning" if risky else "passed",
        severity="medium",
        observed=case.accuracy_delta_pp,
        explanation=(
            f"{'faster, and less accurate' if risky else 'no accuracy is traded for speed'}: "
            f"{case.accuracy_delta_pp:+.4g} percentage points"
        ),
        why="A faster model that is wrong is no better.",
        cause="Quantisation or conversion changed what the model computes.",
        recommendation="Check the calibration data, or keep sensitive layers at a higher precision.",
    )


def likely_quantization_effect(case: ComparisonCase) -> Iterator[GuardEvidence]:
    """A large change of latency across precisions has a likely cause: a note, never an objection."""
    if (delta := _cross(case)) is None:
        yield skipped("likely_quantization_effect", "latency_delta_pct", "the precisions are the same")
        return
    large = abs(delta) >= LARGE_EFFECT_PCT
    yield _note(
        "likely_quantization_effect",
        large,
        delta,
        LARGE_EFFECT_PCT,
        f"latency {delta:+.4g} % from {case.baseline_precision} to {case.candidate_precision}",
        "The change of precision explains a change this large.",
    )


def insufficient_precision_speedup(case: ComparisonCase) -> Iterator[GuardEvidence]:
    """A lower precision that gains less than 10 %: a note; whether it is slower the gates say."""
    delta = _cross(case)
    lower = WIDTH.get(case.candidate_precision.lower(), 64) < WIDTH.get(case.baseline_precision.lower(), 64)
    if delta is None or not lower or case.candidate_precision.lower() not in REDUCED:
        yield skipped(
            "insufficient_precision_speedup", "latency_delta_pct", "the candidate has no lower precision"
        )
        return
    yield _note(
        "insufficient_precision_speedup",
        delta > -EXPECTED_SPEEDUP_PCT,
        delta,
        -EXPECTED_SPEEDUP_PCT,
        f"latency {delta:+.4g} % at {case.candidate_precision}; -{EXPECTED_SPEEDUP_PCT:g} % or less is usual",
        "The device may lack fast kernels for this precision.",
    )


RULES: Final[tuple[Rule, ...]] = (
    unreliable_comparison,
    accuracy_missing_warning,
    risky_tradeoff,
    likely_quantization_effect,
    insufficient_precision_speedup,
)


def _no_accuracy(case: ComparisonCase) -> str:
    told = "accuracy was not measured"
    return told if case.same_inputs else f"{told} on inputs known to be the same"


def _cross(case: ComparisonCase) -> float | None:
    """The latency's change if the precisions differ, whatever their spelling (fp16 and FP16 do not)."""
    if case.baseline_precision.lower() == case.candidate_precision.lower():
        return None
    return case.latency_delta_pct


def _note(id_: str, tells: bool, delta: float, threshold: float, words: str, cause: str) -> GuardEvidence:
    status: Status = "warning" if tells else "passed"
    severity: Severity = "low"
    return item(
        id_,
        "latency_delta_pct",
        status=status,
        severity=severity,
        observed=delta,
        threshold=threshold,
        explanation=words,
        why="It tells where a change of latency comes from.",
        cause=cause,
    )
