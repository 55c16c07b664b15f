"""Seed 000's worker response: its required fields and its mapping table, a test a row."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from edgeproof.contract.bundle import ResponseBundle
from edgeproof.contract.errors import Refused
from edgeproof.contract.point_policy import PointJudgement, UnsignedDecision
from edgeproof.lab.worker_bundle import Sender
from edgeproof.lab.worker_response import Completed, Failed, applied, read_response

Read = Callable[[str], Any]
JOB = "job_7d1e0c94b2aa"
SENDER = Sender(
    worker="external-1", response_digest="d" * 64, policy_version="gate-v1", policy_digest="e" * 64
)
COMPLETED = ("worker_completed_response", "runtime_worker_completed_response")
FAILED = ("worker_failed_response", "runtime_worker_failed_response")


def apply(value: dict[str, Any]) -> Completed | Failed:
    return applied(read_response(value, JOB), SENDER)


def completed(value: dict[str, Any]) -> Completed:
    outcome = apply(value)
    assert isinstance(outcome, Completed), outcome
    return outcome


def failed(value: dict[str, Any]) -> Failed:
    outcome = apply(value)
    assert isinstance(outcome, Failed), outcome
    return outcome


def refusal(value: Any, job_id: str = JOB) -> Refused:
    with pytest.raises(Refused) as refused:
        read_response(value, job_id)
    return refused.value


def changed(value: dict[str, Any], path: str, new: Any) -> dict[str, Any]:
    """A copy with the place ``a.b`` set anew, or taken out where ``new`` is ``...``."""
    made = copy.deepcopy(value)
    *above, last = path.split(".")
    place = made
    for key in above:
        place = place[key]
    if new is ...:
        del place[last]
    else:
        place[last] = new
    return made


# --- required fields -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPLETED)
@pytest.mark.parametrize("field", ["job_id", "status", "forge_metadata", "runtime_result", "completed_at"])
def test_completed_requires(fixture_file: Read, name: str, field: str) -> None:
    assert refusal(changed(fixture_file(name), field, ...)).code == "invalid_request"


@pytest.mark.parametrize("name", FAILED)
@pytest.mark.parametrize("field", ["job_id", "status", "error", "failed_at", "error.code", "error.message"])
def test_failed_requires(fixture_file: Read, name: str, field: str) -> None:
    assert refusal(changed(fixture_file(name), field, ...)).code == "invalid_request"


@pytest.mark.parametrize("name", COMPLETED)
def test_guard_analysis_is_optional(fixture_file: Read, name: str) -> None:
    told = fixture_file(name)
    told.pop("guard_analysis", None)
    result = completed(told).result
    assert "guard_analysis" not in result
    assert result["deployment_decision"]["guard_status"] is None


@pytest.mark.parametrize("result", [{}, {"mean_ms": 1.0}, [], "none"])
def test_failed_brings_no_runtime_result(fixture_file: Read, result: Any) -> None:
    told = {**fixture_file("worker_failed_response"), "runtime_result": result}
    assert refusal(told).errors[0].path == "$.runtime_result"
    assert failed({**told, "runtime_result": None})


def test_completed_brings_no_error(fixture_file: Read) -> None:
    assert refusal({**fixture_file("worker_completed_response"), "error": {"code": "x"}}).errors


# --- the mapping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*COMPLETED, *FAILED])
def test_row_job_id_must_match(fixture_file: Read, name: str) -> None:
    told = fixture_file(name)
    assert refusal(told, "job_of_another").errors[0].path == "$.job_id"
    assert read_response(told, JOB).job_id == JOB


@pytest.mark.parametrize("name", COMPLETED)
def test_row_status_completed(fixture_file: Read, name: str) -> None:
    assert isinstance(apply(fixture_file(name)), Completed)


@pytest.mark.parametrize("name", COMPLETED)
def test_row_completed_at_becomes_updated_at(fixture_file: Read, name: str) -> None:
    told = fixture_file(name)
    assert completed(told).updated_at == told["completed_at"]


@pytest.mark.parametrize("name", COMPLETED)
def test_row_runtime_result_is_wrapped_into_the_result(fixture_file: Read, name: str) -> None:
    told = fixture_file(name)
    result = completed(told).result
    assert result["runtime_result"] == told["runtime_result"]
    assert result["comparison"]["result"]["runtime_result"] == told["runtime_result"]
    assert result["provenance"]["runtime"] == told["runtime_result"]["extra"]


@pytest.mark.parametrize("name", COMPLETED)
def test_row_forge_metadata_is_preserved_in_provenance(fixture_file: Read, name: str) -> None:
    told = fixture_file(name)
    result = completed(told).result
    assert result["provenance"]["forge_metadata"] == told["forge_metadata"] == result["forge_metadata"]
    assert result["provenance"]["source_bundle"] == "worker_response"


def test_row_guard_analysis_is_preserved(fixture_file: Read) -> None:
    told = fixture_file("worker_completed_response")
    assert completed(told).result["guard_analysis"] == told["guard_analysis"]


@pytest.mark.parametrize("path", [{"a": 1}, [1], 7])
def test_an_artifact_path_that_is_no_text_is_no_path(fixture_file: Read, path: Any) -> None:
    told = fixture_file("worker_completed_response")
    told["runtime_result"] |= {"extra": {"runtime_artifact_path": path}, "runtime_artifact_path": path}
    bundle = msgspec.convert(completed(told).result, ResponseBundle)
    assert bundle.metadata.new_path == told["runtime_result"]["model"]


@pytest.mark.parametrize("name", FAILED)
def test_row_status_failed(fixture_file: Read, name: str) -> None:
    assert isinstance(apply(fixture_file(name)), Failed)


@pytest.mark.parametrize("name", FAILED)
def test_row_failed_at_becomes_updated_at(fixture_file: Read, name: str) -> None:
    told = fixture_file(name)
    assert failed(told).updated_at == told["failed_at"]


@pytest.mark.parametrize("name", FAILED)
def test_row_error_becomes_the_jobs_error(fixture_file: Read, name: str) -> None:
    told = fixture_file(name)["error"]
    error = failed(fixture_file(name)).error
    assert (error.code, error.message, error.stage) == (told["code"], told["message"], told["stage"])
    assert list(error.evidence) == told.get("evidence", [])


@pytest.mark.parametrize("alias", ["model_path", "engine_backend", "device_name"])
def test_row_alias(fixture_file: Read, alias: str) -> None:
    told = fixture_file("runtime_worker_completed_response")
    name = {"model_path": "new_path", "engine_backend": "engine", "device_name": "device"}[alias]
    shown = completed(told).result["execution_info"]
    assert shown[name] == told["runtime_result"][alias]
    broken = failed(changed(told, f"runtime_result.{alias}", None)).error
    assert any(alias in one["message"] for one in broken.evidence)


@pytest.mark.parametrize("stage", ["forge", "runtime", "lab_validation"])
@pytest.mark.parametrize("evidence", [None, {"log": "tail"}, [{"a": 1}, {"b": 2}]])
def test_row_stage_is_kept_with_its_evidence(fixture_file: Read, stage: str, evidence: Any) -> None:
    told = fixture_file("worker_failed_response")
    told["error"] |= {"stage": stage, "evidence": evidence}
    error = failed(told).error
    assert error.stage == stage
    assert list(error.evidence) == (
        evidence if isinstance(evidence, list) else [evidence] if evidence else []
    )


def test_row_result_schema_failure_is_lab_validation(fixture_file: Read) -> None:
    told = fixture_file("worker_completed_response")
    told["runtime_result"] |= {"mean_ms": "fast", "p99_ms": -1, "batch": 0}
    outcome = failed(told)
    assert (outcome.error.code, outcome.error.stage) == ("result_invalid", "lab_validation")
    assert {one["path"].rpartition(".")[2] for one in outcome.error.evidence} == {
        "mean_ms",
        "p99_ms",
        "batch",
    }
    assert outcome.updated_at == told["completed_at"]


# --- what is not the worker's --------------------------------------------------------------------


@pytest.mark.parametrize("name", [*COMPLETED, *FAILED])
@pytest.mark.parametrize("field", ["result", "deployment_decision"])
def test_a_decision_is_not_yours(fixture_file: Read, name: str, field: str) -> None:
    told = {**fixture_file(name), field: {"decision": "deployable"}}
    assert refusal(told).code == "decision_not_yours"
    assert read_response({**told, field: None}, JOB)


def test_a_decision_inside_the_result_is_not_yours_either(fixture_file: Read) -> None:
    told = fixture_file("worker_completed_response")
    told["runtime_result"]["deployment_decision"] = {"decision": "deployable"}
    assert refusal(told).code == "decision_not_yours"


@pytest.mark.parametrize("name", COMPLETED)
def test_the_decision_is_unknown_and_unsigned(fixture_file: Read, name: str) -> None:
    decision = completed(fixture_file(name)).result["deployment_decision"]
    assert (decision["decision"], decision["basis"]) == ("unknown", "unsigned")
    assert decision["triggered_rules"] == ["worker_uncompared_unknown"]
    assert (decision["policy_version"], decision["policy_digest"]) == ("gate-v1", "e" * 64)


@pytest.mark.parametrize("name", COMPLETED)
def test_the_bundle_is_that_of_a_comparison_with_nothing_compared(fixture_file: Read, name: str) -> None:
    told = fixture_file(name)
    told.pop("guard_analysis", None)
    bundle = completed(told).result
    read = msgspec.convert(bundle, ResponseBundle, strict=True)
    assert set(ResponseBundle.__struct_fields__) - {"guard_analysis"} <= set(bundle)
    assert (read.basis, read.summary.overall, read.guard_analysis) == ("unsigned", None, UNSET)
    assert set(read.comparison.judgement) == set(PointJudgement.__struct_fields__)
    assert msgspec.convert(bundle["deployment_decision"], UnsignedDecision, strict=True)
    assert bundle["timestamps"] == {"base": None, "new": told["runtime_result"]["timestamp"]}


# --- the guard -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "verdict", "rule"),
    [
        ("warning", "review_required", "guard_warning_review"),
        ("error", "blocked", "guard_error_block"),
        ("skipped", "skipped", "guard_skipped_unknown"),
    ],
)
def test_the_guard_is_reflected_and_decides_nothing(
    fixture_file: Read, status: str, verdict: str, rule: str
) -> None:
    told = fixture_file("worker_completed_response")
    anomaly = {"type": "artifact_sha256_mismatch", "severity": "high", "message": "another artifact ran"}
    told["guard_analysis"] = {"status": status, "anomalies": [anomaly] if verdict != "skipped" else []}
    result = completed(told).result
    decision = result["deployment_decision"]
    assert result["guard_analysis"] == told["guard_analysis"]
    assert (decision["guard_status"], decision["guard_verdict"]) == (status, verdict)
    assert (result["summary"]["guard_status"], result["summary"]["guard_verdict"]) == (status, verdict)
    assert decision["triggered_rules"] == ["worker_uncompared_unknown", rule]
    assert decision["decision"] == "unknown"


@pytest.mark.parametrize(
    "broken", [{}, {"status": "fine"}, {"status": "ok", "confidence": 7}, {"schema_version": "v9"}]
)
def test_a_guard_that_failed_is_skipped_and_fails_nothing(fixture_file: Read, broken: Any) -> None:
    told = {**fixture_file("worker_completed_response"), "guard_analysis": broken}
    result = completed(told).result
    assert result["guard_analysis"]["status"] == "skipped"
    assert "guard_analysis" in result["guard_analysis"]["primary_reason"]
    assert result["deployment_decision"]["guard_status"] == "skipped"


# --- around the result ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "at", ["2026-03-02", "yesterday", "2026-03-02T08:16:25", "", 5, None, "2026-13-02T08:16:25Z"]
)
def test_times_are_rfc_3339(fixture_file: Read, at: Any) -> None:
    assert (
        refusal({**fixture_file("worker_completed_response"), "completed_at": at}).code == "invalid_request"
    )


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        ("1999-12-31T23:59:59Z", "1999-12-31T23:59:59Z"),
        ("2026-03-02T10:16:25+02:00", "2026-03-02T08:16:25Z"),
        ("2026-03-02T08:16:25.5Z", "2026-03-02T08:16:25.500000Z"),
    ],
)
def test_a_time_is_shown_in_utc_and_may_be_older_than_the_job(
    fixture_file: Read, at: str, shown: str
) -> None:
    assert completed({**fixture_file("worker_completed_response"), "completed_at": at}).updated_at == shown


def test_a_time_beyond_utc_is_refused(fixture_file: Read) -> None:
    told = {**fixture_file("worker_completed_response"), "completed_at": "0001-01-01T00:00:00+23:00"}
    assert refusal(told).code == "invalid_request"


@pytest.mark.parametrize(
    "papers", [{}, {"artifact_sha256": "abc"}, {"artifacts": [{"sha256": ""}]}, {"x": float("nan")}]
)
def test_forge_metadata_says_something_and_its_digests_are_digests(fixture_file: Read, papers: Any) -> None:
    told = {**fixture_file("worker_completed_response"), "forge_metadata": papers}
    assert refusal(told).errors[0].path.startswith("$.forge_metadata")


@pytest.mark.parametrize("value", [None, [], "completed", 3, {"status": "done"}])
def test_what_is_no_response_is_refused(value: Any) -> None:
    assert refusal(value).code == "invalid_request"
