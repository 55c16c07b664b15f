"""Seed 000's two tables of the worker request, a test a row: its fields, and the mapping from a job."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edgeproof.contract.errors import Refused
from edgeproof.contract.worker import WorkerRequest
from edgeproof.lab.worker_request import worker_request

Read = Callable[[str], Any]


def job_of(request: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The queued job whose worker request the fixture is."""
    return {
        "job_id": request["job_id"],
        "status": "queued",
        "created_at": "2026-03-02T08:14:59Z",
        "updated_at": request["requested_at"],
        "input_summary": request["input_summary"],
        **changes,
    }


def lacks(request: dict[str, Any], field: str) -> bool:
    without = {key: value for key, value in request.items() if key != field}
    try:
        msgspec.convert(without, WorkerRequest)
    except msgspec.ValidationError as error:
        return f"`{field}`" in str(error)
    return False


# --- the fields ----------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["job_id", "input_summary", "requested_at", "options"])
def test_field_required(fixture_file: Read, field: str) -> None:
    assert lacks(fixture_file("worker_request"), field)


@pytest.mark.parametrize("field", ["model_path", "artifact_path", "metadata_path", "manifest_path"])
def test_field_not_required_by_itself(fixture_file: Read, field: str) -> None:
    assert not lacks(fixture_file("worker_request"), field)


@pytest.mark.parametrize("field", ["model_path", "artifact_path"])
def test_field_required_when_the_other_path_is_absent(fixture_file: Read, field: str) -> None:
    request = fixture_file("worker_request")
    alone = {**request["input_summary"], "model_path": None, "artifact_path": None, field: "one.onnx"}
    assert worker_request(job_of(request, input_summary=alone))[field] == "one.onnx"
    with pytest.raises(Refused, match="invalid_request"):
        worker_request(job_of(request, input_summary={**alone, field: None}))


@pytest.mark.parametrize("field", ["metadata_path", "manifest_path", "model_path"])
def test_field_of_a_path_is_not_empty(fixture_file: Read, field: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**fixture_file("worker_request"), field: ""}, WorkerRequest)


# --- the mapping ---------------------------------------------------------------------------------


def test_row_the_whole_fixture(fixture_file: Read) -> None:
    request = fixture_file("worker_request")
    made = worker_request(job_of(request))
    assert made == request
    assert msgspec.to_builtins(msgspec.convert(made, WorkerRequest)) == request


@pytest.mark.parametrize("field", ["job_id", "input_summary"])
def test_row_of_the_same_name(fixture_file: Read, field: str) -> None:
    request = fixture_file("worker_request")
    assert worker_request(job_of(request))[field] == request[field]


def test_row_updated_at_or_created_at_to_requested_at(fixture_file: Read) -> None:
    job = job_of(fixture_file("worker_request"))
    assert worker_request(job)["requested_at"] == job["updated_at"]
    assert worker_request({**job, "updated_at": None})["requested_at"] == job["created_at"]


@pytest.mark.parametrize("path", ["model_path", "artifact_path", "metadata_path", "manifest_path"])
def test_row_input_summary_path_to_path(fixture_file: Read, path: str) -> None:
    request = fixture_file("worker_request")
    summary = {**request["input_summary"], path: f"elsewhere/{path}"}
    assert worker_request(job_of(request, input_summary=summary))[path] == f"elsewhere/{path}"


def test_row_options_plus_caller_options_to_options(fixture_file: Read) -> None:
    job = job_of(fixture_file("worker_request"))
    made = worker_request(job, {"precision": "fp16", "power_mode": "15W"})
    assert made["options"]["precision"] == "fp16"
    assert made["options"]["power_mode"] == "15W"
    assert made["options"]["backend"] == job["input_summary"]["options"]["backend"]
    assert made["input_summary"]["options"]["precision"] == "fp32"


def test_row_notes_to_options_notes_when_present(fixture_file: Read) -> None:
    job = job_of(fixture_file("worker_request"))
    assert worker_request(job)["options"]["notes"] == job["input_summary"]["notes"]
    silent = {key: value for key, value in job["input_summary"].items() if key != "notes"}
    assert "notes" not in worker_request({**job, "input_summary": silent})["options"]


def test_a_reader_that_takes_a_key_where_the_text_has_it_first_reads_it_right(fixture_file: Read) -> None:
    """The originals' Runtime has no JSON parser: it looks for the first such key."""
    request = fixture_file("worker_request")
    theirs = {
        "model_path": "theirs.onnx",
        "artifact_path": "theirs.engine",
        "precision": "int8",
        "preset": "x",
    }
    options = {"baseline": theirs, **request["input_summary"]["options"]}
    summary = {"options": options, **{k: v for k, v in request["input_summary"].items() if k != "options"}}
    made = worker_request(job_of(request, input_summary=summary))
    text = msgspec.json.encode(msgspec.convert(made, WorkerRequest)).decode()
    for name in ("job_id", "model_path", "artifact_path", "metadata_path", "manifest_path", "requested_at"):
        assert first(text, name) == made[name]
    inside = text[text.index('"options":') :]
    for name in ("backend", "target", "precision", "batch", "height", "width"):
        assert first(inside, name) == request["options"][name]


def first(text: str, name: str) -> Any:
    """The value behind the first key of that name."""
    value, _ = json.JSONDecoder().raw_decode(text[text.index(f'"{name}":') + len(name) + 3 :])
    return value


@pytest.mark.parametrize("status", ["running", "completed", "failed", "cancelled"])
def test_row_only_queued_jobs(fixture_file: Read, status: str) -> None:
    with pytest.raises(Refused) as refused:
        worker_request(job_of(fixture_file("worker_request"), status=status))
    assert refused.value.code == "conflict"


def test_row_only_analyze_jobs(fixture_file: Read) -> None:
    request = fixture_file("worker_request")
    summary = {**request["input_summary"], "workflow": "tune"}
    with pytest.raises(Refused) as refused:
        worker_request(job_of(request, input_summary=summary))
    assert refused.value.code == "invalid_request"
