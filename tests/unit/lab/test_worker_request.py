"""Seed 000's mapping from a job to its worker request, line by line; aliases and options."""

from __future__ import annotations

from typing import Any

import pytest

from edgeproof.contract.errors import Refused
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.lab.worker_request import input_summary, options_of, without_aliases, worker_request


def job(**changes: Any) -> dict[str, Any]:
    summary = {
        "workflow": "analyze",
        "model_path": "sha256:m",
        "artifact_path": "sha256:a",
        "metadata_path": "metadata.json",
        "manifest_path": "manifest.json",
        "options": {"backend": "onnxruntime"},
        "notes": "from the summary",
        **changes.pop("summary", {}),
    }
    return {
        "job_id": "job_1",
        "status": "queued",
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-02T00:00:00Z",
        "input_summary": summary,
        **changes,
    }


def test_every_row_of_the_mapping_table() -> None:
    queued = job()
    assert worker_request(queued, {"runs": 5}) == {
        "job_id": "job_1",
        "input_summary": queued["input_summary"],
        "requested_at": "2026-01-02T00:00:00Z",
        "model_path": "sha256:m",
        "artifact_path": "sha256:a",
        "metadata_path": "metadata.json",
        "manifest_path": "manifest.json",
        "options": {"backend": "onnxruntime", "runs": 5, "notes": "from the summary"},
    }


def test_without_an_update_the_request_is_as_old_as_the_job() -> None:
    assert worker_request(job(updated_at=None))["requested_at"] == "2026-01-01T00:00:00Z"


def test_notes_fill_the_options_only_where_they_have_none() -> None:
    request = worker_request(job(summary={"options": {"notes": "of the options"}}))
    assert request["options"]["notes"] == "of the options"
    assert "notes" not in worker_request(job(summary={"notes": None}))["options"]


def test_the_callers_options_win() -> None:
    assert worker_request(job(), {"backend": "other"})["options"]["backend"] == "other"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        *[({"status": status}, "conflict") for status in ("running", "completed", "failed", "cancelled")],
        ({"summary": {"workflow": "tune"}}, "invalid_request"),
        ({"summary": {"model_path": None, "artifact_path": None}}, "invalid_request"),
    ],
)
def test_only_a_queued_analyze_job_with_a_model_is_handed_over(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as refused:
        worker_request(job(**changes))
    assert refused.value.code == code


def test_aliases_are_read_and_the_kept_name_wins() -> None:
    assert without_aliases({"engine": "a", "device_name": "b"}) == {"backend": "a", "target": "b"}
    assert without_aliases({"engine": "a", "backend": "c"}) == {"backend": "c"}


def test_options_are_checked_and_the_place_is_named() -> None:
    assert options_of({"device": "cpu", "whatever": 1}).target == "cpu"
    with pytest.raises(Refused) as refused:
        options_of({"baseline": {"model_path": 3}})
    assert refused.value.code == "invalid_request"
    assert refused.value.errors[0].path == "options.baseline.model_path"


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"device_class": ""}, "options.device_class"),
        ({"device_class": 7}, "options.device_class"),
        ({"min_vram_bytes": 0}, "options.min_vram_bytes"),
        ({"min_vram_bytes": "24GiB"}, "options.min_vram_bytes"),
        ({"min_vram_bytes": (1 << 50) + 1}, "options.min_vram_bytes"),
        ({"min_memory_bytes": -1}, "options.min_memory_bytes"),
        ({"min_memory_bytes": 1.5}, "options.min_memory_bytes"),
        ({"runner_labels": ["site=lab"]}, "options.runner_labels"),
        ({"runner_labels": {"site": 1}}, "options.runner_labels"),
        ({"runner_labels": {"site": ""}}, "options.runner_labels"),
        ({"runner_labels": {"site": []}}, "options.runner_labels"),
        ({"runner_labels": {"site": ["a\n"]}}, "options.runner_labels"),
        ({"runner_labels": {"a b": "lab"}}, "runner_labels"),
        ({"runner_labels": {"": "lab"}}, "runner_labels"),
        ({"runner_labels": {f"k{n}": "v" for n in range(17)}}, "options.runner_labels"),
    ],
)
def test_a_demand_that_means_nothing_is_refused_and_its_place_is_named(
    options: dict[str, Any], place: str
) -> None:
    with pytest.raises(Refused) as refused:
        options_of(options)
    assert refused.value.code == "invalid_request"
    assert place in refused.value.detail


def test_demands_of_the_device_are_read() -> None:
    told = {"min_vram_bytes": 1 << 50, "runner_labels": {"site": "lab", "board": ["b1", "b2"]}}
    options = options_of({**told, "device_class": "linux-aarch64"})
    assert (options.device_class, options.min_vram_bytes) == ("linux-aarch64", 1 << 50)
    assert options.runner_labels == {"site": "lab", "board": ("b1", "b2")}


def test_the_input_summary_keeps_the_request_under_the_names_that_are_kept() -> None:
    request = AnalyzeRequest(model_path="sha256:m", notes="why", options={"engine": "onnxruntime"})
    assert input_summary(request) == {
        "workflow": "analyze",
        "model_path": "sha256:m",
        "artifact_path": None,
        "metadata_path": None,
        "manifest_path": None,
        "options": {"backend": "onnxruntime"},
        "notes": "why",
    }
    with pytest.raises(Refused, match="invalid_request"):
        input_summary(AnalyzeRequest())
