"""Seed 000's mappings, both ways: what goes in comes out where the table says, and nothing else does."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.contract.errors import Refused
from edgeproof.contract.plain_results import identity
from edgeproof.contract.worker import AnalyzeBody, ForgeHandover, WorkerRequest
from edgeproof.lab.dry_run import dry_completed, dry_failed
from edgeproof.lab.forge_handover import OPTIONS, PATHS, PROVENANCE, asked_by, handover_summary
from edgeproof.lab.worker_bundle import Sender
from edgeproof.lab.worker_request import worker_request
from edgeproof.lab.worker_response import Completed, Failed, applied, read_response
from edgeproof.lab.worker_result import result_violations

AT = "2026-03-02T08:15:00Z"
SENDER = Sender(worker="w", response_digest="d" * 64, policy_version="p-v1", policy_digest="e" * 64)

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
axes = st.one_of(st.none(), st.integers(1, 1_000_000))
ids = st.text("abcXYZ019._-", min_size=1, max_size=30)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_first, _last = datetime.fromisoformat("0002-01-01"), datetime.fromisoformat("9998-01-01")
times = st.datetimes(_first, _last, timezones=offsets).map(datetime.isoformat)
plain = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**53), 2**53), words,
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inside: st.one_of(st.lists(inside, max_size=3), st.dictionaries(words, inside, max_size=3)),
    max_leaves=8,
)  # fmt: skip
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inside: st.one_of(
        st.lists(inside, max_size=3), st.dictionaries(st.text(max_size=12), inside, max_size=4)
    ),
    max_leaves=12,
)  # fmt: skip

summaries = st.fixed_dictionaries(
    {
        **dict.fromkeys(("source_model_path", "artifact_path", "backend", "target", "precision"), words),
        **dict.fromkeys(("artifact_type", "preset_name", "build_id"), words),
        **dict.fromkeys(("source_model_sha256", "artifact_sha256"), digests),
        **dict.fromkeys(("batch", "height", "width"), axes),
        **dict.fromkeys(("metadata_path", "manifest_path"), st.one_of(st.none(), words)),
    }
)
latencies = st.floats(1e-6, 1e9)
results = st.fixed_dictionaries(
    {
        "precision": words,
        **dict.fromkeys(("batch", "height", "width"), axes),
        **dict.fromkeys(("mean_ms", "p50_ms", "p95_ms", "p99_ms"), latencies),
        "timestamp": st.just(AT),
        "input_shapes": st.dictionaries(
            words, st.lists(st.integers(1, 9), max_size=4), min_size=1, max_size=2
        ),
        "extra": st.dictionaries(words.filter(lambda key: not key.endswith("sha256")), plain, max_size=3),
    }
)
identities = st.tuples(
    st.sampled_from(["model", "model_path"]),
    st.sampled_from(["engine", "engine_backend", "backend"]),
    st.sampled_from(["device", "device_name", "target"]),
)


def summary_of(told: dict[str, Any]) -> dict[str, Any]:
    handover = asked_by(msgspec.convert(told, AnalyzeBody))
    assert isinstance(handover, ForgeHandover)
    return handover_summary(handover)


def told_by(summary: dict[str, Any]) -> dict[str, Any]:
    """The mapping backwards: the Forge summary that an input summary came from."""
    return {
        **{theirs: summary[ours] for theirs, ours in PATHS.items()},
        **{name: summary["options"][name] for name in OPTIONS},
        **{name: summary["provenance"][name] for name in PROVENANCE},
    }


@given(summaries)
def test_a_forge_summary_can_be_read_back_from_the_input_summary(told: dict[str, Any]) -> None:
    summary = summary_of(told)
    assert told_by(summary) == told
    assert summary["options"]["provenance"] == summary["provenance"]
    assert summary_of(told_by(summary)) == summary


def job_with(job_id: str, summary: dict[str, Any], at: str | None) -> dict[str, Any]:
    return {
        "job_id": job_id, "status": "queued", "created_at": "2026-03-01T00:00:00Z", "updated_at": at,
        "input_summary": summary,
    }  # fmt: skip


@given(ids, summaries, st.one_of(st.none(), st.just(AT)), st.dictionaries(words, plain, max_size=3))
def test_a_job_can_be_read_back_from_its_worker_request(
    job_id: str, told: dict[str, Any], at: str | None, caller: dict[str, Any]
) -> None:
    job = job_with(job_id, summary_of(told), at)
    request = worker_request(job, caller)
    assert msgspec.to_builtins(msgspec.convert(request, WorkerRequest)) == request
    assert (request["job_id"], request["input_summary"]) == (job_id, job["input_summary"])
    assert request["requested_at"] == (at or job["created_at"])
    assert {path: request[path] for path in PATHS.values()} == {
        path: job["input_summary"][path] for path in PATHS.values()
    }
    # Backwards: whatever the caller did not lay over is the job's own.
    own = {name: value for name, value in request["options"].items() if name not in caller}
    assert own == {name: one for name, one in job["input_summary"]["options"].items() if name not in caller}
    assert worker_request(job, caller) == request


@given(ids, results, identities, words, times, st.dictionaries(words, plain, min_size=1, max_size=3))
def test_what_a_worker_measured_can_be_read_back_from_the_result(
    job_id: str, result: dict[str, Any], names: tuple[str, ...], word: str, at: str, papers: dict[str, Any]
) -> None:
    measured = {**result, **dict.fromkeys(names, word)}
    response = {
        "job_id": job_id, "status": "completed", "runtime_result": measured, "completed_at": at,
        "forge_metadata": {f"{key}.": one for key, one in papers.items()},
    }  # fmt: skip
    outcome = applied(read_response(response, job_id), SENDER)
    assert isinstance(outcome, Completed)
    bundle = outcome.result
    assert bundle["runtime_result"] == bundle["comparison"]["result"]["runtime_result"] == measured
    assert bundle["provenance"]["forge_metadata"] == response["forge_metadata"]
    shown = bundle["execution_info"]
    assert (shown["engine"], shown["device"]) == (word, word)
    assert {axis: shown[axis] for axis in ("batch", "height", "width")} == {
        axis: measured[axis] for axis in ("batch", "height", "width")
    }
    assert set(identity(measured).values()) == {word}
    assert bundle["deployment_decision"]["decision"] == "unknown"
    assert bundle["deployment_decision"]["basis"] == "unsigned"
    assert msgspec.json.decode(msgspec.json.encode(bundle)) == bundle


@given(ids, words, st.sampled_from(["forge", "runtime", "lab_validation"]),
       st.one_of(st.none(), st.dictionaries(words, plain, max_size=3)))  # fmt: skip
def test_why_a_worker_failed_can_be_read_back_from_the_error(
    job_id: str, word: str, stage: str, evidence: dict[str, Any] | None
) -> None:
    error = {"code": word, "message": word, "stage": stage, "evidence": evidence}
    response = {"job_id": job_id, "status": "failed", "error": error, "failed_at": AT}
    outcome = applied(read_response(response, job_id), SENDER)
    assert isinstance(outcome, Failed)
    told = msgspec.to_builtins(outcome.error)
    assert {name: told[name] for name in ("code", "message", "stage")} == {
        name: error[name] for name in ("code", "message", "stage")
    }
    assert (told["evidence"][0] if told["evidence"] else None) == evidence


@given(ids, summaries.filter(lambda told: None not in (told["batch"], told["height"], told["width"])))
def test_every_request_a_forge_hands_over_has_a_dry_run_that_can_be_applied(
    job_id: str, told: dict[str, Any]
) -> None:
    request = msgspec.convert(worker_request(job_with(job_id, summary_of(told), AT)), WorkerRequest)
    done = applied(read_response(dry_completed(request, AT), job_id), SENDER)
    assert isinstance(done, Completed)
    assert isinstance(applied(read_response(dry_failed(request, AT), job_id), SENDER), Failed)


@given(anything)
def test_nothing_that_is_posted_breaks_the_reading(value: Any) -> None:
    try:
        read_response(value, "job")
    except Refused as refused:
        assert refused.status in (400, 403)


@given(st.dictionaries(st.sampled_from([
    "model", "engine_backend", "device_name", "precision", "batch", "height", "width", "mean_ms", "p50_ms",
    "p95_ms", "p99_ms", "timestamp", "input_shapes", "latency_ms", "run_config", "extra", "artifact_sha256",
]), anything))  # fmt: skip
def test_no_result_breaks_the_check_and_what_passes_it_can_be_applied(result: dict[str, Any]) -> None:
    response = {
        "job_id": "j", "status": "completed", "forge_metadata": {"build_id": "b"}, "runtime_result": result,
        "completed_at": AT,
    }  # fmt: skip
    result.pop("deployment_decision", None)
    outcome = applied(read_response(response, "j"), SENDER)
    assert isinstance(outcome, Failed) == bool(result_violations(result))
