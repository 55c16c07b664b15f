"""Each guard rule on its own, and what they come to together."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from edgeproof.contract.comparison import GuardEvidence
from edgeproof.contract.samples import SideQuality
from edgeproof.lab.compare import compare
from edgeproof.lab.dossier import assemble
from edgeproof.lab.guard.analyse import analyse, guard_case, papers_agree, sides_compare
from edgeproof.lab.guard.item import Severity, Status
from edgeproof.lab.guard.item import item as make_item
from edgeproof.lab.guard.pair import (
    GuardCase,
    accuracy_drop,
    class_count_drop,
    latency_regression,
    non_finite_output,
    output_disagreement,
    provenance_mismatch,
)
from edgeproof.lab.guard.verdict import conclude
from edgeproof.testing.evidence import Scene, make_evidence


def case_of(scene: Scene | None = None) -> GuardCase:
    made = make_evidence(scene or Scene(images=1000))
    dossier = assemble(made.documents, made.evidence, made.control_plane.public)
    measured = dossier.measurement.predicate
    results = (measured.baseline, measured.candidate)
    comparison = compare(*results, dossier.samples.pairs, dossier.quality, dossier.policy)
    builds = (dossier.baseline_build, dossier.candidate_build)
    return guard_case(builds, results, dossier.quality, comparison, dossier.policy)


def with_candidate(case: GuardCase, **changes: Any) -> GuardCase:
    """The case with a field of the candidate's runtime result, or of its ``extra``, changed."""
    side = case.sides["candidate"]
    result = side.result
    if "extra" in changes:
        changes["extra"] = msgspec.structs.replace(result.extra, **changes["extra"])
    changed = replace(side, result=msgspec.structs.replace(result, **changes))
    return replace(case, sides={**case.sides, "candidate": changed})


def objections(items: Iterator[GuardEvidence]) -> list[tuple[str, str, str]]:
    return [
        (item.metric_name, item.status, item.severity)
        for item in items
        if item.status not in ("passed", "skipped")
    ]


@pytest.mark.parametrize(
    ("changes", "field", "severity"),
    [
        ({"extra": {"runtime_artifact_sha256": "0" * 64}}, "artifact_sha256", "high"),
        ({"extra": {"source_model_sha256": "0" * 64}}, "source_model_sha256", "high"),
        ({"backend": "tensorrt"}, "backend", "medium"),
        ({"target": "cuda"}, "target", "medium"),
        ({"precision": "fp16"}, "precision", "medium"),
        ({"batch": 4}, "batch", "medium"),
        ({"width": 16}, "width", "medium"),
        ({"input_shapes": {"image": (1, 1, 8, 9)}}, "input_shapes.image", "medium"),
    ],
)
def test_what_ran_must_be_what_was_built(changes: dict[str, object], field: str, severity: str) -> None:
    case = with_candidate(case_of(), **changes)
    assert objections(provenance_mismatch(case)) == [(f"candidate.{field}", "failed", severity)]


@pytest.mark.parametrize(
    "changes",
    [{}, {"backend": "OnnxRuntime"}, {"batch": None}, {"input_shapes": {"image": (1, 1, 8, 8), "x": (2,)}}],
)
def test_nothing_that_fits_is_a_mismatch(changes: dict[str, object]) -> None:
    assert objections(provenance_mismatch(with_candidate(case_of(), **changes))) == []


def test_a_runner_may_name_its_files_as_it_likes() -> None:
    case = with_candidate(case_of(), runtime_artifact_path="input-candidate")
    assert objections(papers_agree(case)) == []
    assert analyse(case).status == "ok"


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({"extra": {"runtime_artifact_sha256": "0" * 64}}, "high"),
        ({"width": 16}, "medium"),
        ({"target": "gpu"}, "medium"),
    ],
)
def test_metadata_and_summary_are_held_against_what_ran(changes: dict[str, object], severity: str) -> None:
    told = objections(papers_agree(with_candidate(case_of(), **changes)))
    assert [one[1:] for one in told] == [("failed", severity)] * 2


@pytest.mark.parametrize("changes", [{"threads": 4}, {"input_source": "random"}])
def test_sides_that_ran_differently_are_for_review(changes: dict[str, object]) -> None:
    case = case_of()
    config = msgspec.structs.replace(case.sides["candidate"].result.run_config, **changes)
    case = with_candidate(case, run_config=config)
    assert ("conditions", "warning", "high") in objections(sides_compare(case))
    assert analyse(case).status == "warning"


def test_one_non_finite_sample_of_the_candidate_is_critical() -> None:
    case = case_of(Scene(candidate_nonfinite=1))
    assert objections(non_finite_output(case)) == [("candidate.non_finite_samples", "failed", "critical")]
    baseline = replace(case.sides["baseline"], nonfinite=2)
    case = replace(case, sides={"baseline": baseline, "candidate": replace(baseline, nonfinite=0)})
    assert objections(non_finite_output(case)) == [("baseline.non_finite_samples", "warning", "medium")]


@pytest.mark.parametrize(
    ("images", "candidate", "status", "severity"),
    [
        (1000, 0.98, "passed", "low"),
        (1000, 0.975, "passed", "low"),
        (1000, 0.965, "warning", "medium"),
        (1000, 0.92, "failed", "high"),
        (1000, 1.0, "passed", "low"),
        (16, 0.9, "warning", "medium"),  # one sample of 16 is 6 points, and chance
    ],
)
def test_an_accuracy_drop_fails_only_if_it_is_not_chance(
    images: int, candidate: float, status: str, severity: str
) -> None:
    (item,) = accuracy_drop(case_of(Scene(images=images, accuracy=(0.98, candidate))))
    assert (item.status, item.severity) == (status, severity)


def test_without_labels_outputs_are_compared_and_with_labels_they_are_not() -> None:
    (unlabelled,) = accuracy_drop(case_of(Scene(accuracy=None)))
    (labelled,) = output_disagreement(case_of(Scene(accuracy=(0.5, 0.98))))
    assert unlabelled.status == labelled.status == "skipped"


@pytest.mark.parametrize(
    ("share", "source", "status"),
    [
        (0.049, "dataset", "passed"),
        (0.05, "dataset", "warning"),
        (0.25, "dataset", "failed"),
        (0.25, "random", "warning"),
        (None, "dataset", "skipped"),
    ],
)
def test_disagreement_on_random_inputs_only_warns(share: float | None, source: str, status: str) -> None:
    case = case_of(Scene(accuracy=None))
    config = msgspec.structs.replace(case.sides["candidate"].result.run_config, input_source=source)
    case = replace(with_candidate(case, run_config=config), disagreeing=share)
    (item,) = output_disagreement(case)
    assert item.status == status


def test_disagreement_is_counted_by_class() -> None:
    case = case_of(Scene(accuracy=(0.98, 0.90), images=1000))
    assert case.disagreeing == pytest.approx(0.08)


def test_without_classes_another_scale_is_a_disagreement() -> None:
    made = make_evidence(Scene(accuracy=None))
    dossier = assemble(made.documents, made.evidence, made.control_plane.public)
    measured = dossier.measurement.predicate
    results = (measured.baseline, measured.candidate)
    unclassed = SideQuality(predictions=None, nonfinite=0)
    quality = msgspec.structs.replace(
        dossier.quality,
        samples=4,
        baseline=unclassed,
        candidate=unclassed,
        cosine=(1.0,) * 4,
        max_abs_error=(1.0,) * 4,
        relative_error=(9.0, 0.01, 0.01, 0.01),
    )
    comparison = compare(*results, dossier.samples.pairs, quality, dossier.policy)
    builds = (dossier.baseline_build, dossier.candidate_build)
    assert guard_case(builds, results, quality, comparison, dossier.policy).disagreeing == 0.25


@pytest.mark.parametrize(("ratio", "found"), [(0.5, 0), (1.05, 0), (1.3, 2)])
def test_only_a_large_slowdown_warns(ratio: float, found: int) -> None:
    told = objections(latency_regression(case_of(Scene(ratio=ratio))))
    assert told == [("p50", "warning", "medium"), ("p90", "warning", "medium")][:found]


def test_a_gate_that_is_not_decidable_is_no_objection() -> None:
    case = case_of(Scene(ratio=1.3))
    first, second = case.comparison.latency
    second = msgspec.structs.replace(second, verdict="not_decidable")
    comparison = msgspec.structs.replace(case.comparison, latency=(first, second))
    told = list(latency_regression(replace(case, comparison=comparison)))
    assert [(one.metric_name, one.status) for one in told] == [("p50", "warning"), ("p90", "skipped")]


def item(status: Status, severity: Severity) -> GuardEvidence:
    return make_item(
        "accuracy_drop",
        "m",
        status=status,
        severity=severity,
        explanation=f"{status} {severity}",
        why="",
        cause="a cause",
        recommendation="look",
    )


@pytest.mark.parametrize(
    ("items", "status", "verdict"),
    [
        ([], "ok", "pass"),
        ([("passed", "low"), ("skipped", "low")], "ok", "pass"),
        ([("warning", "critical")], "warning", "suspicious"),
        ([("warning", "medium")], "warning", "suspicious"),
        ([("warning", "low"), ("warning", "low")], "ok", "pass"),
        ([("failed", "low")], "warning", "suspicious"),
        ([("failed", "medium"), ("warning", "high")], "warning", "review_required"),
        ([("failed", "medium"), ("failed", "high")], "error", "blocked"),
        ([("failed", "critical")], "error", "blocked"),
    ],
)
def test_what_the_items_come_to(items: list[tuple[Status, Severity]], status: str, verdict: str) -> None:
    told = conclude([item(*one) for one in items])
    assert (told.status, told.guard_verdict) == (status, verdict)
    assert (told.recommendations != ()) == (verdict != "pass") == (told.suspected_causes != ())


def test_the_gravest_item_is_the_primary_reason() -> None:
    told = conclude([item("warning", "high"), item("failed", "medium"), item("failed", "critical")])
    assert (told.primary_reason, told.severity) == ("failed critical", "critical")


def test_a_rule_that_crashes_leaves_the_guard_skipped() -> None:
    def crashes(case: GuardCase) -> Iterator[GuardEvidence]:
        yield from ()
        raise KeyError(case.samples)

    told = analyse(case_of(), (non_finite_output, crashes))
    assert (told.status, told.guard_verdict, told.evidence) == ("skipped", "skipped", ())
    assert told.primary_reason == "The guard could not be evaluated: KeyError."


def judged_classes(
    before: list[int], after: list[int], labels: list[int] | None, groups: list[int] | None = None
) -> list[tuple[str, str, str]]:
    """Status and severity per class, of a case with these predictions."""
    made = make_evidence(Scene(images=len(before)))
    dossier = assemble(made.documents, made.evidence, made.control_plane.public)
    measured = dossier.measurement.predicate
    quality = msgspec.structs.replace(
        dossier.quality,
        labels=None if labels is None else tuple(labels),
        groups=None if groups is None else tuple(groups),
        baseline=SideQuality(predictions=tuple(before), nonfinite=0),
        candidate=SideQuality(predictions=tuple(after), nonfinite=0),
    )
    results = (measured.baseline, measured.candidate)
    comparison = compare(*results, dossier.samples.pairs, quality, dossier.policy)
    builds = (dossier.baseline_build, dossier.candidate_build)
    case = guard_case(builds, results, quality, comparison, dossier.policy)
    return [(one.metric_name, one.status, one.severity) for one in class_count_drop(case)]


def test_a_class_that_is_lost_while_the_others_hold() -> None:
    before = [0] * 980 + [1] * 20
    assert judged_classes(before, [0] * 1000, labels=before) == [("class_1", "failed", "high")]
    assert judged_classes(before, [0] * 990 + [1] * 10, labels=before) == [("class_1", "failed", "medium")]
    assert judged_classes(before, [0] * 989 + [1] * 11, labels=before) == [("classes", "passed", "low")]
    assert judged_classes(before, [0] * 1000, labels=None) == [("class_1", "failed", "high")]


def test_a_class_that_the_baseline_named_wrongly_is_no_loss() -> None:
    labels = [0] * 50 + [1] * 50
    assert judged_classes([0] * 100, labels, labels=labels) == [("classes", "passed", "low")]


def test_few_of_a_class_or_few_originals_are_not_judged() -> None:
    before = [0] * 100 + [1] * 19
    assert judged_classes(before, [0] * 119, labels=before) == [("classes", "passed", "low")]
    derived = [index // 10 for index in range(100)]
    assert judged_classes([0] * 100, [1] * 100, labels=[0] * 100, groups=derived) == [
        ("classes", "skipped", "low")
    ]


def test_random_inputs_are_of_no_class() -> None:
    (told,) = class_count_drop(replace(case_of(), by_class=None))
    assert (told.status, told.metric_name) == ("skipped", "classes")
