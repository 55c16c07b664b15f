"""The bundle of two unsigned results: every key of the original's, never signed, never from a dry run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgeproof.cli import exits
from edgeproof.contract.bundle import ResponseBundle
from edgeproof.contract.canonical import digest_of
from edgeproof.contract.errors import Refused
from edgeproof.contract.point_policy import PointJudgement, ThresholdChanges
from edgeproof.lab.bundle import response_bundle
from edgeproof.lab.inferedge import inferedge_policy, with_thresholds
from edgeproof.lab.unsigned_bundle import Side, compare_unsigned
from edgeproof.lab.worker_bundle import Sender
from edgeproof.lab.worker_response import Completed, applied, read_response
from edgeproof.testing.folder import make_folder

FIXTURES = Path(__file__).parents[2] / "fixtures"
POLICY = inferedge_policy()
BASE: dict[str, Any] = {
    "model": "yolov8n", "engine": "tensorrt", "device": "jetson", "precision": "fp16",
    "batch": 1, "height": 640, "width": 640,
    "mean_ms": 10.0, "p50_ms": 9.8, "p95_ms": 11.0, "p99_ms": 12.0, "timestamp": "2026-05-01T10:00:00Z",
    "accuracy": {"task": "detection", "metrics": {"map50": 0.80}},
    "system": {"os": "Linux", "python": "3.11", "machine": "aarch64", "cpu_count_logical": 6},
    "run_config": {"warmup": 10, "runs": 100, "power_mode": "15W"},
    "extra": {"runtime_artifact_sha256": "ab" * 32},
}  # fmt: skip
FASTER = {**BASE, "mean_ms": 8.0, "p99_ms": 10.0, "timestamp": "2026-05-02T10:00:00Z"}
DRY = {**BASE, "mean_ms": 0, "p50_ms": 0, "p95_ms": 0, "p99_ms": 0, "run_config": {"dry_run": True}}
LEGACY_GUARD = {"status": "ok", "anomalies": [], "confidence": 0.5, "mode": "compare", "of_theirs": 1}
DIAGNOSIS = {
    "schema_version": "inferedge-aiguard-diagnosis-v1", "source": "aiguard", "guard_verdict": "blocked",
    "severity": "critical", "confidence": 0.9, "primary_reason": "boxes collapsed", "evidence": [],
    "suspected_causes": [], "recommendations": [], "thresholds": {}, "baseline_summary": None,
    "candidate_summary": None, "created_at": "2026-05-02T10:00:00Z",
}  # fmt: skip


def compared(base: Any = BASE, new: Any = FASTER, **more: Any) -> dict[str, Any]:
    return compare_unsigned(Side(body=base), Side(body=new), POLICY, **more)


def keys_of(type_: type[msgspec.Struct]) -> dict[str, set[str]]:
    """The keys that a bundle has for certain, by part."""
    fields = {field.name: field for field in msgspec.structs.fields(type_)}
    found = {"": {name for name, field in fields.items() if field.required}}
    for name, field in fields.items():
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            found |= {f"{name}.{inside}".rstrip("."): keys for inside, keys in keys_of(field.type).items()}
    return found


def missing(bundle: dict[str, Any]) -> dict[str, set[str]]:
    """Required keys that a bundle lacks, by part."""
    lacks: dict[str, set[str]] = {}
    for path, keys in keys_of(ResponseBundle).items():
        inside: Any = bundle
        for step in path.split(".") if path else ():
            inside = inside[step]
        if keys - set(inside):
            lacks[path] = keys - set(inside)
    return lacks


def test_the_key_test_sees_a_missing_key() -> None:
    bundle = compared()
    del bundle["comparison"]["rendered"]["html"], bundle["timestamps"]
    with pytest.raises(KeyError):
        missing(bundle)
    bundle = compared()
    del bundle["comparison"]["rendered"]["html"]
    assert missing(bundle) == {"comparison.rendered": {"html"}}


@pytest.mark.parametrize("new", [FASTER, DRY], ids=["compared", "dry run"])
def test_compare_has_every_key_of_the_originals_bundle(new: dict[str, Any]) -> None:
    bundle = compared(new=new)
    assert missing(bundle) == {}
    assert set(PointJudgement.__struct_fields__) == set(bundle["comparison"]["judgement"])
    msgspec.convert(bundle, ResponseBundle)
    assert json.loads(json.dumps(bundle)) == bundle


def test_a_jobs_result_has_every_key_of_compares() -> None:
    made = make_folder()
    signed = response_bundle(made.dossier, made.decision, made.decision_digest)
    unsigned = compared(with_guard=True)
    assert missing(signed) == {}
    assert set(unsigned) <= set(signed)
    for part in ("summary", "comparison", "metadata", "timestamps", "execution_info"):
        assert set(unsigned[part]) <= set(signed[part]), part
    originals = set(PointJudgement.__struct_fields__) - {"comparability", "accuracy_metric"}
    assert originals <= set(signed["comparison"]["judgement"])
    assert set(unsigned["deployment_decision"]) == set(signed["deployment_decision"])
    assert (unsigned["basis"], signed["basis"]) == ("unsigned", "signed")


@pytest.mark.parametrize("name", ["worker_completed_response", "runtime_worker_completed_response"])
def test_a_lone_workers_result_has_every_key_too(name: str) -> None:
    told = json.loads((FIXTURES / f"{name}.json").read_text())
    sender = Sender(
        worker="w", response_digest="ab" * 32, policy_version="edgeproof-default-v1", policy_digest="cd" * 32
    )
    made = applied(read_response(told, told["job_id"]), sender)
    assert isinstance(made, Completed)
    assert missing(made.result) == {}
    assert set(PointJudgement.__struct_fields__) - {"thresholds"} <= set(
        made.result["comparison"]["judgement"]
    )
    assert made.result["basis"] == "unsigned"


@pytest.mark.parametrize("guard", [LEGACY_GUARD, DIAGNOSIS, None], ids=["legacy", "diagnosis", "absent"])
def test_whatever_is_decided_is_unsigned_and_exits_3(guard: Any) -> None:
    decision = compared(guard_analysis=guard)["deployment_decision"]
    assert decision["basis"] == "unsigned"
    assert exits.of_decision(decision) == exits.REVIEW


def test_the_same_rules_and_names_decide() -> None:
    bundle = compared(guard_analysis=LEGACY_GUARD)
    decision = bundle["deployment_decision"]
    assert decision["decision"] == "deployable"
    assert decision["triggered_rules"] == ["guard_ok_lab_favorable_deployable"]
    assert (decision["policy_version"], decision["policy_digest"]) == ("inferedge-v1", digest_of(POLICY))
    assert bundle["summary"]["deployment_decision"] == "deployable"
    assert bundle["comparison"]["result"]["mean_ms"]["delta_pct"] == -20.0


@pytest.mark.parametrize(
    ("guard", "status", "decision"),
    [(LEGACY_GUARD, "ok", "deployable"), (DIAGNOSIS, "error", "blocked"),
     ({"status": "skipped"}, "skipped", "unknown"), ({"status": "warning"}, "warning", "review_required")],
)  # fmt: skip
def test_a_guards_answer_is_preserved_and_reflected(guard: Any, status: str, decision: str) -> None:
    bundle = compared(guard_analysis=guard)
    assert bundle["guard_analysis"] == guard
    assert bundle["summary"]["guard_status"] == status
    assert bundle["deployment_decision"]["decision"] == decision


def test_absent_guard_input_is_absent_and_not_null() -> None:
    bundle = compared()
    assert "guard_analysis" not in bundle
    assert bundle["deployment_decision"]["decision"] == "unknown"
    assert bundle["deployment_decision"]["triggered_rules"] == ["guard_unavailable_unknown"]


@pytest.mark.parametrize(
    "guard", [{"status": "fine"}, {}, 3, {**DIAGNOSIS, "confidence": 2}, {"schema_version": "v9"}]
)
def test_guard_input_of_the_wrong_form_is_refused(guard: Any) -> None:
    with pytest.raises(Refused) as refused:
        compared(guard_analysis=guard)
    assert refused.value.code == "invalid_request"


def test_our_guard_answers_when_asked() -> None:
    bundle = compared(with_guard=True)
    assert bundle["guard_analysis"]["status"] == bundle["deployment_decision"]["guard_status"]
    with pytest.raises(Refused):
        compared(with_guard=True, guard_analysis=LEGACY_GUARD)


@pytest.mark.parametrize("sides", [(BASE, DRY), (DRY, FASTER), (DRY, DRY)])
@pytest.mark.parametrize("guard", [LEGACY_GUARD, DIAGNOSIS, None])
def test_a_dry_run_is_never_compared(sides: tuple[Any, Any], guard: Any) -> None:
    bundle = compared(*sides, guard_analysis=guard)
    decision = bundle["deployment_decision"]
    assert (decision["decision"], decision["triggered_rules"]) == ("unknown", ["dry_run_unknown"])
    assert bundle["summary"]["overall"] is None
    assert "mean_ms" not in bundle["comparison"]["result"]
    assert bundle["comparison"]["judgement"]["mean_ms"] is None


def test_a_dry_run_may_be_told_by_its_worker_response_mode() -> None:
    new = {**FASTER, "extra": {"worker_response_mode": "dry_run"}}
    assert compared(new=new)["deployment_decision"]["decision"] == "unknown"


def test_a_result_that_breaks_its_form_names_its_side() -> None:
    with pytest.raises(Refused, match="new_result") as refused:
        compared(new={**FASTER, "mean_ms": "fast"})
    assert refused.value.code == "result_invalid"
    with pytest.raises(Refused, match="base_result"):
        compared(base={**BASE, "p99_ms": 0})


def test_other_thresholds_are_another_policy() -> None:
    changed = with_thresholds(POLICY, ThresholdChanges(latency_improve_pct=-30))
    bundle = compare_unsigned(Side(body=BASE), Side(body=FASTER), changed, guard_analysis=LEGACY_GUARD)
    decision = bundle["deployment_decision"]
    assert decision["decision"] == "deployable_with_note"
    assert decision["policy_version"] == "inferedge-v1-changed"
    assert decision["policy_digest"] == digest_of(changed) != digest_of(POLICY)
    assert bundle["comparison"]["judgement"]["thresholds"]["latency_improve_pct"] == -30
    assert with_thresholds(POLICY, ThresholdChanges(latency_improve_pct=-3)) is POLICY


@pytest.mark.parametrize(
    "changes",
    [{"latency_improve_pct": 4}, {"accuracy_regress_pp": 0.3}, {"tradeoff_severe_pp": -0.5},
     {"tradeoff_caution_pp": -1.5}],
)  # fmt: skip
def test_thresholds_that_contradict_one_another_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(Refused) as refused:
        with_thresholds(POLICY, ThresholdChanges(**changes))
    assert refused.value.code == "invalid_request"


def test_conditions_that_differ_are_listed() -> None:
    new = {**FASTER, "run_config": {"warmup": 10, "runs": 100}, "extra": {"power_mode": "25W"}}
    diff = compared(new=new)["provenance"]["run_config_diff"]
    assert diff == {"power_mode": {"base": "15w", "new": "25w"}}


def test_a_legacy_result_is_warned_of() -> None:
    legacy = {name: one for name, one in BASE.items() if name not in ("system", "run_config")}
    assert compared()["metadata"]["legacy_warning"] is None
    assert "base" in compared(base=legacy)["metadata"]["legacy_warning"]


def test_what_is_shown_is_escaped_and_says_that_nobody_signed_it() -> None:
    new = {**FASTER, "model": "<script>x</script>|`"}
    shown = compared(new=new, with_guard=True)["comparison"]["rendered"]
    assert "nobody signed" in shown["html"]
    assert "nobody signed" in shown["markdown"]
    assert "<script>" not in shown["html"]
    assert "<script>" not in shown["markdown"]


def test_a_bare_percentile_is_told_to_be_not_certified() -> None:
    shown = compared()["comparison"]["rendered"]
    for text, underscore in ((shown["html"], "_"), (shown["markdown"], "\\_")):
        assert f"p95{underscore}ms (not certified)" in text
        assert f"p99{underscore}ms (not certified)" in text
        assert text.count("not certified") == 2
