"""The rules over results and their papers: comparison, result, history, provenance; and over a whole pair."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from edgeproof.contract.comparison import GuardEvidence
from edgeproof.lab.dossier import assemble
from edgeproof.lab.guard import comparison, history, provenance, result
from edgeproof.lab.guard.comparison import ComparisonCase
from edgeproof.lab.guard.provenance import ProvenanceCase, forge_facts, runtime_facts
from edgeproof.lab.guard.result import ResultFacts
from edgeproof.lab.guard.verdict import conclude
from edgeproof.lab.judge import judge
from edgeproof.testing.evidence import Scene, make_evidence

PAIR = ComparisonCase(
    baseline_precision="fp32",
    candidate_precision="int8",
    latency_delta_pct=-51.0,
    faster=True,
    accuracy_delta_pp=2.0,
    less_accurate=False,
    shape_match=True,
)
FACTS = ResultFacts(
    side="candidate",
    model="m",
    backend="b",
    device="d",
    precision="int8",
    mean_ms=10.0,
    p99_ms=12.0,
    shape=(1, 8, 8),
    artifact_path="m.onnx",
    input_shapes_known=True,
    run_config_known=True,
    system_known=True,
    quality_known=True,
)


def told(items: Iterator[GuardEvidence]) -> list[tuple[str, str]]:
    return [(one.status, one.severity) for one in items]


def objections(rules: Any, case: Any) -> list[tuple[str, str, str]]:
    items = [one for rule in rules for one in rule(case)]
    return [(one.type, one.status, one.severity) for one in items if one.status in ("warning", "failed")]


@pytest.mark.parametrize(
    ("rules", "case"), [(comparison.RULES, PAIR), (result.RULES, FACTS), (history.RULES, [FACTS] * 3)]
)
def test_every_item_bears_the_id_of_its_rule(rules: Any, case: Any) -> None:
    for rule in rules:
        items = list(rule(case))
        assert {one.type for one in items} == {rule.__name__}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [("likely_quantization_effect", "warning", "low")]),
        ({"latency_delta_pct": -29.0}, []),
        ({"latency_delta_pct": -9.0}, [("insufficient_precision_speedup", "warning", "low")]),
        ({"baseline_precision": "INT8"}, []),
        ({"candidate_precision": "fp64", "latency_delta_pct": 1.0}, []),
        ({"shape_match": False, "latency_delta_pct": None}, [("unreliable_comparison", "warning", "high")]),
        (
            {"unlike_conditions": ("threads 1 against 2",), "latency_delta_pct": None},
            [("unreliable_comparison", "warning", "high")],
        ),
        (
            {"accuracy_delta_pp": None, "latency_delta_pct": -20.0},
            [("accuracy_missing_warning", "warning", "medium")],
        ),
        (
            {"accuracy_delta_pp": None, "latency_delta_pct": -20.0, "outputs_agree": False},
            [("accuracy_missing_warning", "warning", "medium")],
        ),
        (
            {"accuracy_delta_pp": None, "latency_delta_pct": -20.0, "outputs_agree": True},
            [("accuracy_missing_warning", "warning", "low")],
        ),
        ({"accuracy_delta_pp": None, "latency_delta_pct": -20.0, "faster": False}, []),
        (
            {"accuracy_delta_pp": -2.0, "less_accurate": True, "latency_delta_pct": -20.0},
            [("risky_tradeoff", "warning", "medium")],
        ),
    ],
)
def test_comparison_rules(changes: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    assert objections(comparison.RULES, replace(PAIR, **changes)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"model": None}, [("missing_identity", "failed", "high")]),
        ({"device": ""}, [("missing_identity", "failed", "high")]),
        ({"mean_ms": None}, [("missing_latency", "failed", "high")]),
        ({"mean_ms": 0.0}, [("invalid_latency", "failed", "high")]),
        ({"p99_ms": -1.0}, [("invalid_latency", "failed", "high")]),
        ({"p99_ms": 20.0}, [("latency_instability", "warning", "medium")]),
        ({"p99_ms": 19.9}, []),
        ({"p99_ms": 20.0, "tail_certified": False}, [("latency_instability", "warning", "low")]),
        ({"artifact_path": None}, [("missing_runtime_artifact_path", "failed", "medium")]),
        ({"input_shapes_known": False}, [("missing_resolved_input_shapes", "failed", "medium")]),
        ({"run_config_known": False}, [("missing_run_config", "failed", "medium")]),
        ({"quality_known": False}, [("quantised_accuracy_missing", "failed", "medium")]),
        ({"quality_known": False, "precision": "fp32"}, []),
        ({"system_known": False}, [("missing_system", "warning", "low")]),
    ],
)
def test_result_rules(changes: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    assert objections(result.RULES, replace(FACTS, **changes)) == expected


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([{}, {}, {}], []),
        ([{}], [("short_history", "warning", "low")]),
        ([{}, {"model": "other"}], [("mixed_identity", "failed", "high")]),
        ([{}, {"precision": "INT8"}], []),
        ([{}, {"shape": (2, 8, 8)}], [("mixed_shape", "failed", "high")]),
        ([{}, {"mean_ms": 15.0}], [("mean_variation", "warning", "medium")]),
        ([{}, {"mean_ms": 14.9}], []),
        ([{}, {"p99_ms": 18.0}], [("p99_variation", "warning", "medium")]),
        (
            [{}, {}, {"mean_ms": 18.0}],
            [("mean_variation", "warning", "medium"), ("outlier_run", "warning", "medium")],
        ),
        ([{}, {"quality_known": False}], [("history_accuracy_missing", "warning", "medium")]),
        ([{"quality_known": False}] * 2, [("history_accuracy_missing", "warning", "medium")]),
        ([{"quality_known": False, "precision": "fp32"}] * 2, []),
    ],
)
def test_history_rules(runs: list[dict[str, Any]], expected: list[tuple[str, str, str]]) -> None:
    assert objections(history.RULES, [replace(FACTS, **one) for one in runs]) == expected


# --- provenance --------------------------------------------------------------------------------------

SHA, SOURCE = "a" * 64, "b" * 64
RUNTIME: dict[str, Any] = {
    "engine": "onnxruntime",
    "device": "cpu",
    "precision": "INT8",
    "batch": 1,
    "height": 8,
    "width": 8,
    "runtime_artifact_path": "m.onnx",
    "extra": {"runtime_artifact_sha256": SHA.upper(), "source_model_sha256": SOURCE},
}
SUMMARY: dict[str, Any] = {
    "artifact_sha256": SHA,
    "source_model_sha256": SOURCE,
    "artifact_path": "m.onnx",
    "artifact_type": "onnx",
    "backend": "onnxruntime",
    "target": "cpu",
    "precision": "int8",
    "batch": 1,
    "height": 8,
    "width": 8,
}
METADATA: dict[str, Any] = {
    "source_model": {"sha256": SOURCE},
    "artifacts": [{"path": "m.onnx", "format": "onnx", "sha256": SHA}],
    "lab_compat": {
        "runtime": {
            "engine": "onnxruntime",
            "device": "cpu",
            "precision": "int8",
            "runtime_artifact_path": "m.onnx",
            "requested_batch": 1,
            "requested_height": 8,
            "requested_width": 8,
        }
    },
}
MANIFEST: dict[str, Any] = {
    "source_model": {"sha256": SOURCE},
    "artifact": {"path": "m.onnx", "format": "onnx", "sha256": SHA, "precision": "int8"},
    "runtime": {
        "engine": "onnxruntime",
        "device": "cpu",
        "precision": "int8",
        "artifact_path": "m.onnx",
        "batch": 1,
        "height": 8,
        "width": 8,
    },
}


def papers(document: dict[str, Any], **runtime: Any) -> ProvenanceCase:
    return ProvenanceCase(forge_facts(document), runtime_facts({**RUNTIME, **runtime}))


@pytest.mark.parametrize("document", [SUMMARY, METADATA, MANIFEST], ids=["summary", "metadata", "manifest"])
def test_identical_provenance_never_warns(document: dict[str, Any]) -> None:
    assert objections(provenance.RULES, papers(document)) == []
    where: Callable[[str], int | None] = forge_facts(document).get
    assert [where(axis) for axis in provenance.AXES] == [1, 8, 8]


@pytest.mark.parametrize("document", [SUMMARY, METADATA, MANIFEST], ids=["summary", "metadata", "manifest"])
@pytest.mark.parametrize(
    ("runtime", "expected"),
    [
        (
            {"extra": {"runtime_artifact_sha256": "c" * 64, "source_model_sha256": SOURCE}},
            ("artifact_sha256_mismatch", "failed", "high"),
        ),
        (
            {"extra": {"runtime_artifact_sha256": SHA, "source_model_sha256": "c" * 64}},
            ("source_model_sha256_mismatch", "failed", "high"),
        ),
        ({"runtime_artifact_path": "n.onnx"}, ("artifact_path_mismatch", "failed", "medium")),
        ({"batch": 4}, ("shape_mismatch", "failed", "medium")),
        ({"run_config": {"width": 16}}, ("shape_mismatch", "failed", "medium")),
        ({"engine": "tensorrt"}, ("runtime_config_mismatch", "failed", "medium")),
        ({"precision": "fp32"}, ("runtime_config_mismatch", "failed", "medium")),
        ({"artifact_type": "engine"}, ("artifact_type_mismatch", "failed", "medium")),
        ({"extra": {"source_model_sha256": SOURCE}}, ("insufficient_provenance", "failed", "medium")),
    ],
)
def test_each_mismatch_is_told_once(
    document: dict[str, Any], runtime: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    assert objections(provenance.RULES, papers(document, **runtime)) == [expected]


def test_an_axis_that_the_model_has_not_is_neither_missing_nor_a_mismatch() -> None:
    assert objections(provenance.RULES, papers({**SUMMARY, "height": None}, height=None, width=None)) == []


def test_a_mismatch_names_field_and_both_sources() -> None:
    case = papers(SUMMARY, batch=4)
    (item,) = [one for one in provenance.mismatch("shape_mismatch", case) if one.status == "failed"]
    assert item.raw_context == {
        "field": "batch",
        "expected": "1",
        "observed": "4",
        "expected_source": "forge",
        "observed_source": "runtime",
    }


# --- a whole signed pair -----------------------------------------------------------------------------


def decided(scene: Scene) -> tuple[str, list[tuple[str, str, str]]]:
    made = make_evidence(scene)
    dossier = assemble(made.documents, made.evidence, made.control_plane.public)
    predicate = judge(dossier, with_guard=True).predicate
    assert predicate.guard_analysis is not None
    items = predicate.guard_analysis.evidence
    return predicate.deployment_decision.decision, [
        (one.type, one.status, one.severity) for one in items if one.status in ("warning", "failed")
    ]


def test_a_51_percent_faster_int8_build_with_better_accuracy_and_guard_ok_is_deployable() -> None:
    decision, items = decided(Scene(ratio=0.49, accuracy=(0.96, 0.98), images=1000))
    assert decision == "deployable"
    assert items == [("likely_quantization_effect", "warning", "low")]


def test_unlabelled_but_agreeing_outputs_have_a_note_and_stay_deployable() -> None:
    decision, items = decided(Scene(ratio=0.8, accuracy=None, images=1000))
    assert decision == "deployable_with_note"
    assert items == [("accuracy_missing_warning", "warning", "low")]


def test_a_faster_but_worse_build_is_told_as_a_risky_tradeoff() -> None:
    decision, items = decided(Scene(ratio=0.8, accuracy=(0.98, 0.90), images=1000))
    assert decision == "blocked"
    assert ("risky_tradeoff", "warning", "medium") in items


def test_the_same_precision_has_no_quantisation_effect() -> None:
    decision, items = decided(Scene(ratio=0.5, candidate_precision="fp32", images=1000))
    assert (decision, items) == ("deployable", [])


def test_identical_provenance_of_a_signed_pair_never_warns() -> None:
    made = make_evidence(Scene())
    dossier = assemble(made.documents, made.evidence, made.control_plane.public)
    ran = dossier.measurement.predicate.candidate
    inside = dossier.candidate_build.predicate.buildDefinition.internalParameters
    for document in (inside.metadata, inside.manifest, inside.worker_runtime_summary):
        case = ProvenanceCase(
            forge_facts(msgspec.to_builtins(document)), runtime_facts(msgspec.to_builtins(ran))
        )
        items = [one for rule in provenance.RULES for one in rule(case)]
        assert conclude(items).status == "ok"
        assert len(items) >= 8
