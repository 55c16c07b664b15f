"""The dry run answers a worker request as the seed's Runtime exports it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edgeproof.contract.errors import Refused
from edgeproof.contract.plain_results import is_dry_run
from edgeproof.contract.worker import AnalyzeBody, ForgeHandover, WorkerRequest
from edgeproof.lab.dry_run import dry_completed, dry_failed
from edgeproof.lab.forge_handover import asked_by, handover_summary
from edgeproof.lab.worker_bundle import Sender
from edgeproof.lab.worker_request import worker_request
from edgeproof.lab.worker_response import Completed, Failed, applied, read_response

Read = Callable[[str], Any]
AT = "2026-03-02T08:17:00Z"
JOB = "job_7d1e0c94b2aa"
SENDER = Sender(worker="external-1", response_digest="d" * 64, policy_version="p-v1", policy_digest="e" * 64)


def handed_over(read: Read) -> WorkerRequest:
    """The worker request of the Forge fixture's summary."""
    handover = asked_by(msgspec.convert(read("forge_worker_runtime_summary"), AnalyzeBody))
    assert isinstance(handover, ForgeHandover)
    job = {"job_id": JOB, "status": "queued", "created_at": AT, "updated_at": AT}
    return msgspec.convert(
        worker_request({**job, "input_summary": handover_summary(handover)}), WorkerRequest
    )


def test_a_completed_answer_has_the_form_of_the_runtimes(fixture_file: Read) -> None:
    made = dry_completed(handed_over(fixture_file), AT)
    exported = fixture_file("runtime_worker_completed_response")
    assert set(made) == set(exported)
    for part in ("runtime_result", "forge_metadata"):
        assert set(made[part]) == set(exported[part])
    for part in ("run_config", "extra", "latency_ms"):
        assert set(made["runtime_result"][part]) == set(exported["runtime_result"][part])
    zeros = [made["runtime_result"][name] for name in ("mean_ms", "p50_ms", "p95_ms", "p99_ms")]
    assert zeros == [0.0] * 4
    assert made["runtime_result"]["run_config"]["dry_run"] is True
    assert made["runtime_result"]["extra"]["worker_response_mode"] == "dry_run"


def test_a_failed_answer_is_the_runtimes(fixture_file: Read) -> None:
    assert dry_failed(handed_over(fixture_file), AT) == fixture_file("runtime_worker_failed_response")
    assert dry_failed(handed_over(fixture_file), AT, "why")["error"]["message"] == "why"


@pytest.mark.parametrize("name", ["worker_request", "forge_worker_runtime_summary"])
def test_what_it_exports_can_be_applied_and_is_never_compared(fixture_file: Read, name: str) -> None:
    request = (
        handed_over(fixture_file)
        if name != "worker_request"
        else msgspec.convert(fixture_file(name), WorkerRequest)
    )
    outcome = applied(read_response(dry_completed(request, AT), JOB), SENDER)
    assert isinstance(outcome, Completed)
    assert is_dry_run(outcome.result["runtime_result"])
    assert outcome.result["execution_info"]["dry_run"] is True
    decision = outcome.result["deployment_decision"]
    assert (decision["decision"], decision["basis"]) == ("unknown", "unsigned")
    assert "dry run" in decision["reason"]
    failed = applied(read_response(dry_failed(request, AT), JOB), SENDER)
    assert isinstance(failed, Failed)
    assert (failed.error.code, failed.error.stage) == ("runtime_worker_dry_run_failed", "runtime")


@pytest.mark.parametrize(
    ("option", "value"),
    [("backend", None), ("target", ""), ("precision", 16), ("batch", 0), ("height", None), ("width", True)],
)
def test_a_request_that_says_too_little_is_refused(fixture_file: Read, option: str, value: Any) -> None:
    told = fixture_file("worker_request")
    told["options"][option] = value
    with pytest.raises(Refused) as refused:
        dry_completed(msgspec.convert(told, WorkerRequest), AT)
    assert refused.value.errors[0].path == f"options.{option}"


def test_input_shapes_stand_for_axes_that_the_model_lacks(fixture_file: Read) -> None:
    told = fixture_file("worker_request")
    told["options"] |= {"height": None, "width": None, "input_shapes": {"tokens": [1, 128]}}
    made = dry_completed(msgspec.convert(told, WorkerRequest), AT)
    assert isinstance(applied(read_response(made, JOB), SENDER), Completed)
