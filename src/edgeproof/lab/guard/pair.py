"""Rules over one measured pair with all its signed evidence: each from a case to evidence items, by id.

A rule returns ``passed`` items too, so that silence is never mistaken for health, and ``skipped`` ones
where it has nothing to judge. ``warning`` and ``failed`` items are objections, but for notes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from edgeproof.contract.canonical import round6
from edgeproof.contract.comparison import Comparison, GuardEvidence
from edgeproof.contract.policy import GuardThresholds
from edgeproof.contract.results import ForgeManifest, ForgeMetadata, RuntimeResult, WorkerRuntimeSummary
from edgeproof.lab.guard.item import Severity, Status, item, skipped

CONVERSION: Final = "Quantisation or conversion changed what the model computes."


ENOUGH: Final = 20
"""Of so many, a candidate that differs in one input of ten loses half once in 100,000 times."""
MOST_CLASSES: Final = 20
NOT_BUILT: Final = "it came as an artifact, which nobody here built"


@dataclass(frozen=True)
class Papers:
    """What a build says it made."""

    metadata: ForgeMetadata
    manifest: ForgeManifest
    summary: WorkerRuntimeSummary


@dataclass(frozen=True)
class SideCase:
    """One side: what its build says, None without one; what the runtime says it ran; samples with NaN or
    infinity."""

    papers: Papers | None
    result: RuntimeResult
    nonfinite: int


@dataclass(frozen=True)
class GuardCase:
    """All that the guard looks at. ``disagreeing`` is the share of inputs whose outputs differ, if known.

    ``by_class`` counts, of baseline and candidate, the inputs of a data set per class: those put into it
    rightly, or, without labels, those put into it at all. None where no classes are known.
    """

    sides: Mapping[str, SideCase]
    comparison: Comparison
    disagreeing: float | None
    samples: int
    thresholds: GuardThresholds
    by_class: tuple[Mapping[int, int], Mapping[int, int]] | None = None


Rule = Callable[[GuardCase], Iterator[GuardEvidence]]


def provenance_mismatch(case: GuardCase) -> Iterator[GuardEvidence]:
    """What ran is what was built: digests, backend, target, precision and shape of either side."""
    for name, side in case.sides.items():
        if side.papers is None:
            yield skipped("provenance_mismatch", f"{name}.provenance", NOT_BUILT)
            continue
        for field, built, ran, severity in _provenance(side.papers.manifest, side.result):
            same = built == ran
            yield item(
                "provenance_mismatch",
                f"{name}.{field}",
                observed=ran,
                baseline=built,
                severity=severity,
                status="passed" if same else "failed",
                explanation=(
                    f"{name}: the {field} that ran is the one built"
                    if same
                    else f"{name}: {field} {ran} ran, but the build manifest says {built}"
                ),
                why="A measurement of something else says nothing about this artifact.",
                cause="Another artifact or configuration was measured than was built.",
                recommendation="Rebuild, and measure the artifact of that build.",
            )


def non_finite_output(case: GuardCase) -> Iterator[GuardEvidence]:
    """No output is NaN or infinite: fatal in the candidate, a doubtful reference in the baseline."""
    for name, side in case.sides.items():
        bad = side.nonfinite
        mine = name == "candidate"
        status: Status = "passed" if bad == 0 else "failed" if mine else "warning"
        yield item(
            "non_finite_output",
            f"{name}.non_finite_samples",
            observed=float(bad),
            threshold=0.0,
            severity="critical" if mine else "medium",
            status=status,
            explanation=f"{name}: {bad} of {case.samples} samples gave NaN or infinity",
            why="Whatever reads such an output cannot use it.",
            cause="Overflow or division by zero at the candidate's precision.",
            recommendation="Look for overflow at this precision, or bad calibration.",
        )


def accuracy_drop(case: GuardCase) -> Iterator[GuardEvidence]:
    """A collapse of top-1 accuracy; it fails only if the drop is not chance (upper limit below zero)."""
    accuracy, thresholds = case.comparison.accuracy, case.thresholds
    if accuracy is None:
        yield skipped("accuracy_drop", "top1_accuracy", "there are no labels, or the outputs are no scores")
        return
    drop = round6(-accuracy.difference_pp)
    surely = accuracy.difference_high_pp < 0
    status: Status = "passed"
    if drop >= thresholds.accuracy_drop_pp_warning:
        status = "failed" if surely and drop >= thresholds.accuracy_drop_pp_failed else "warning"
    failed = status == "failed"
    yield item(
        "accuracy_drop",
        "top1_accuracy",
        observed=accuracy.candidate,
        baseline=accuracy.baseline,
        threshold=thresholds.accuracy_drop_pp_failed if failed else thresholds.accuracy_drop_pp_warning,
        severity=_graded(status),
        status=status,
        explanation=(
            f"top-1 accuracy {100 * accuracy.candidate:.4g} % against {100 * accuracy.baseline:.4g} %: "
            f"a change of {accuracy.difference_pp:+.4g} percentage points "
            f"[{accuracy.difference_low_pp:.4g}, {accuracy.difference_high_pp:.4g}]"
        ),
        why="A faster model that is wrong is no better.",
        cause=CONVERSION,
        recommendation="Check the calibration data and the conversion.",
    )


def output_disagreement(case: GuardCase) -> Iterator[GuardEvidence]:
    """Outputs unlike the baseline's, where no labels say which of the two is right.

    Random inputs lie on no class's side, so disagreement on them never fails, it only warns.
    """
    thresholds, share = case.thresholds, case.disagreeing
    if case.comparison.accuracy is not None:
        yield skipped("output_disagreement", "disagreeing_outputs", "the labels tell which side is right")
        return
    if share is None:
        yield skipped("output_disagreement", "disagreeing_outputs", "no outputs were compared")
        return
    real = case.sides["candidate"].result.run_config.input_source == "dataset"
    status: Status = "passed"
    if share >= thresholds.disagreement_warning:
        status = "failed" if real and share >= thresholds.disagreement_failed else "warning"
    yield item(
        "output_disagreement",
        "disagreeing_outputs",
        observed=share,
        threshold=(thresholds.disagreement_failed if status == "failed" else thresholds.disagreement_warning),
        severity=_graded(status),
        status=status,
        explanation=f"{100 * share:.4g} % of {case.samples} outputs differ from the baseline's",
        why="Without labels, the baseline's outputs are the only reference.",
        cause=CONVERSION,
        recommendation="Analyse with a labelled data set.",
    )


def class_count_drop(case: GuardCase) -> Iterator[GuardEvidence]:
    """A class of which the candidate finds at most half: it can be lost while the total hardly changes.

    A class with fewer than ``ENOUGH`` in the baseline can shrink by chance, and is not judged.
    """
    if case.by_class is None:
        yield skipped("class_count_drop", "classes", "the inputs are random, or the outputs are no classes")
        return
    before, now = case.by_class
    judged = sorted(one for one, count in before.items() if count >= ENOUGH)
    lost = [one for one in judged if now.get(one, 0) <= before[one] / 2]
    if not lost:
        words = f"none of {len(judged)} classes lost half of what the baseline finds of it"
        yield (
            item("class_count_drop", "classes", status="passed", severity="low", explanation=words, why="")
            if judged
            else skipped(
                "class_count_drop", "classes", f"no class has {ENOUGH} inputs that the baseline finds"
            )
        )
    for one in lost[:MOST_CLASSES]:
        gone = now.get(one, 0) == 0
        yield item(
            "class_count_drop",
            f"class_{one}",
            observed=float(now.get(one, 0)),
            baseline=float(before[one]),
            threshold=0.5,
            severity="high" if gone else "medium",
            status="failed",
            explanation=(
                f"class {one}: {now.get(one, 0)} inputs against the baseline's {before[one]}"
                + (f"; {len(lost)} classes lost half or more" if len(lost) > 1 else "")
            ),
            why="A class can be lost while the accuracy over all of them hardly changes.",
            cause="The class is rare in the calibration data.",
            recommendation="Calibrate on data that hold this class.",
        )


def latency_regression(case: GuardCase) -> Iterator[GuardEvidence]:
    """A slowdown far beyond a gate: the whole interval of the ratio is past the guard's threshold."""
    limit = case.thresholds.latency_regression_pct
    same = case.comparison.shape_match and case.comparison.system_match
    for gate in case.comparison.latency:
        if gate.verdict == "not_decidable":
            yield skipped("latency_regression", gate.metric, "the evidence cannot decide this gate")
            continue
        slow = gate.ratio_low is not None and gate.ratio_low > 1 + limit / 100
        yield item(
            "latency_regression",
            gate.metric,
            observed=gate.candidate_ms,
            baseline=gate.baseline_ms,
            threshold=limit,
            severity="medium",
            status="warning" if slow else "passed",
            explanation=(
                f"{gate.metric} is {gate.ratio:.4g} times the baseline's; "
                f"{'surely' if slow else 'not surely'} more than {limit:g} % slower"
                f"{'' if same else ', but not under the same conditions'}"
            ),
            why="A large slowdown often means a fallback to slower kernels.",
            cause=(
                "Operators without a fast kernel at this precision, or a heavier model."
                if same
                else "The sides were not measured under the same conditions."
            ),
            recommendation=(
                "Check which operators fell back or lost their fusion."
                if same
                else "Measure both sides under equal conditions."
            ),
        )


RULES: Final[tuple[Rule, ...]] = (
    provenance_mismatch,
    non_finite_output,
    accuracy_drop,
    output_disagreement,
    class_count_drop,
    latency_regression,
)


def _provenance(manifest: ForgeManifest, result: RuntimeResult) -> Iterator[tuple[str, str, str, Severity]]:
    built, extra = manifest.runtime, result.extra
    yield "artifact_sha256", manifest.artifact.sha256, extra.runtime_artifact_sha256, "high"
    yield "source_model_sha256", manifest.source_model.sha256, extra.source_model_sha256, "high"
    yield "backend", built.engine.lower(), result.backend.lower(), "medium"
    yield "target", built.device.lower(), result.target.lower(), "medium"
    yield "precision", built.precision, result.precision, "medium"
    for axis in ("batch", "height", "width"):
        # An axis that either side leaves open (null) contradicts nothing.
        before, after = getattr(built, axis), getattr(result, axis)
        if before is not None and after is not None:
            yield axis, str(before), str(after), "medium"
    for name in sorted(built.input_shapes.keys() & result.input_shapes.keys()):
        shape, fed = built.input_shapes[name], result.input_shapes[name]
        yield f"input_shapes.{name}", _shape(shape), _shape(fed), "medium"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _graded(status: Status) -> Severity:
    return "high" if status == "failed" else "medium"
