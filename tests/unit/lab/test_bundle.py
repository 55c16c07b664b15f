"""The response bundle has seed 000's form, and what it shows is what was decided."""

import json

from edgeproof.contract.canonical import canonical
from edgeproof.lab.bundle import response_bundle
from edgeproof.lab.inferedge import inferedge_policy
from edgeproof.lab.unsigned_bundle import Side, compare_unsigned
from edgeproof.testing.evidence import Scene
from edgeproof.testing.folder import EvidenceFolder, make_folder

KEYS = {
    "basis", "summary", "comparison", "deployment_decision", "provenance", "metadata", "timestamps",
    "execution_info", "guard_analysis", "runtime_result", "forge_metadata", "evidence", "decision_digest",
}  # fmt: skip
REQUIRED_OF_A_RESULT = {
    "model", "backend", "target", "precision", "batch", "height", "width",
    "mean_ms", "p50_ms", "p95_ms", "p99_ms", "timestamp",
}  # fmt: skip


def bundle_of(folder: EvidenceFolder) -> dict[str, object]:
    return response_bundle(folder.dossier, folder.decision, folder.decision_digest)


def test_it_has_the_seeds_keys() -> None:
    bundle = response_bundle((made := make_folder()).dossier, made.decision, made.decision_digest)
    assert set(bundle) == KEYS
    assert set(bundle["summary"]) == {
        "response_type", "overall", "comparison_mode", "precision_pair", "deployment_decision",
        "guard_status", "guard_verdict",
    }  # fmt: skip
    assert set(bundle["comparison"]) == {"result", "judgement", "rendered"}
    assert set(bundle["comparison"]["rendered"]) == {"markdown", "html"}
    assert {"runtime", "shape", "run_config_diff", "source_bundle"} <= set(bundle["provenance"])
    assert set(bundle["metadata"]) == {"base_path", "new_path", "legacy_warning"}
    assert set(bundle["timestamps"]) == {"base", "new"}
    assert {"base_path", "new_path", "selection_mode", "legacy_warning"} <= set(bundle["execution_info"])
    assert set(bundle["runtime_result"]) >= REQUIRED_OF_A_RESULT
    assert set(bundle["comparison"]["result"]["baseline_runtime_result"]) >= REQUIRED_OF_A_RESULT


def test_it_has_the_tables_of_both_sides_that_a_comparison_of_results_has() -> None:
    bundle = response_bundle((made := make_folder()).dossier, made.decision, made.decision_digest)
    result = bundle["comparison"]["result"]
    one = bundle["runtime_result"]
    told = {"model": one["model"], "engine": "onnxruntime", "device": "cpu", "mean_ms": one["mean_ms"]}
    unsigned = compare_unsigned(Side(body=told), Side(body=told), inferedge_policy())
    for table in ("shape", "system", "run_config"):
        assert set(result[table]) == set(unsigned["comparison"]["result"][table])
    assert result["system"]["machine"] == {
        "base": result["baseline_runtime_result"]["system"]["machine"], "new": one["system"]["machine"],
    }  # fmt: skip
    assert result["run_config"]["threads"]["new"] == one["run_config"]["threads"]
    assert result["shape"]["batch"]["new"] == one["batch"]
    assert result["runtime_result"] == one


def test_it_shows_the_decision_as_signed() -> None:
    made = make_folder(Scene(images=1000))
    bundle = response_bundle(made.dossier, made.decision, made.decision_digest)
    told = made.decision.predicate
    assert canonical(bundle["deployment_decision"]) == canonical(told.deployment_decision)
    assert canonical(bundle["guard_analysis"]) == canonical(told.guard_analysis)
    assert canonical(bundle["evidence"]) == canonical(told.evidence)
    assert bundle["summary"]["deployment_decision"] == told.deployment_decision.decision == "deployable"
    assert bundle["summary"]["response_type"] == "analyze"
    assert bundle["decision_digest"] == made.decision_digest
    mean = bundle["comparison"]["result"]["mean_ms"]
    assert mean["new"] == bundle["runtime_result"]["mean_ms"]
    assert mean["delta_pct"] < -45


def test_it_is_plain_json() -> None:
    made = make_folder()
    bundle = bundle_of(made)
    assert json.loads(json.dumps(bundle)) == bundle


def test_the_guard_is_absent_when_it_was_not_asked() -> None:
    bundle = bundle_of(make_folder(with_guard=False))
    assert set(bundle) == KEYS - {"guard_analysis"}


def test_conditions_that_differ_are_listed_and_speed_is_none() -> None:
    bundle = response_bundle((made := make_folder()).dossier, made.decision, made.decision_digest)
    assert bundle["provenance"]["run_config_diff"] == {}
    assert bundle["comparison"]["judgement"]["run_config_match"] is True
