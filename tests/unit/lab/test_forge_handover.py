"""Seed 000's table from a Forge's ``worker_runtime_summary`` to the input summary, a test a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edgeproof.contract.errors import Refused
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.worker import SUMMARY_FIELDS, AnalyzeBody, ForgeHandover
from edgeproof.lab.forge_handover import asked_by, handover_summary
from edgeproof.lab.plan import order_of
from edgeproof.lab.worker_request import options_of, worker_request
from edgeproof.testing.folder import make_folder

from .test_plan import CATALOGUE

Read = Callable[[str], Any]
NAME = "forge_worker_runtime_summary"


def read(body: dict[str, Any]) -> AnalyzeRequest | ForgeHandover:
    return asked_by(msgspec.convert(body, AnalyzeBody))


def summary_of(body: dict[str, Any]) -> dict[str, Any]:
    handover = read(body)
    assert isinstance(handover, ForgeHandover)
    return handover_summary(handover)


def refusal(body: dict[str, Any]) -> Refused:
    with pytest.raises(Refused) as refused:
        read(body)
    assert refused.value.code == "invalid_request"
    return refused.value


def test_row_source_model_path_to_model_path(fixture_file: Read) -> None:
    told = fixture_file(NAME)
    assert summary_of(told)["model_path"] == told["source_model_path"]


@pytest.mark.parametrize("path", ["artifact_path", "metadata_path", "manifest_path"])
def test_row_path_to_path(fixture_file: Read, path: str) -> None:
    told = fixture_file(NAME)
    assert summary_of(told)[path] == told[path]


@pytest.mark.parametrize("option", ["backend", "target", "precision"])
def test_row_to_options(fixture_file: Read, option: str) -> None:
    told = fixture_file(NAME)
    assert summary_of(told)["options"][option] == told[option]


@pytest.mark.parametrize("axis", ["batch", "height", "width"])
def test_row_axis_to_options(fixture_file: Read, axis: str) -> None:
    told = fixture_file(NAME)
    assert summary_of(told)["options"][axis] == told[axis]


@pytest.mark.parametrize(
    "field", ["source_model_sha256", "artifact_sha256", "artifact_type", "preset_name", "build_id"]
)
def test_row_to_provenance_and_options_provenance(fixture_file: Read, field: str) -> None:
    told = fixture_file(NAME)
    summary = summary_of(told)
    assert summary["provenance"][field] == summary["options"]["provenance"][field] == told[field]


def test_the_whole_summary_lands_and_nothing_else(fixture_file: Read) -> None:
    told = fixture_file(NAME)
    assert set(told) == set(SUMMARY_FIELDS)
    provenance = {
        field: told[field]
        for field in ("source_model_sha256", "artifact_sha256", "artifact_type", "preset_name", "build_id")
    }
    options = {name: told[name] for name in ("backend", "target", "precision", "batch", "height", "width")}
    assert summary_of(told) == {
        "workflow": "analyze",
        "model_path": told["source_model_path"],
        **{name: told[name] for name in ("artifact_path", "metadata_path", "manifest_path")},
        "options": {**options, "provenance": provenance},
        "provenance": provenance,
    }


def test_a_summary_becomes_a_valid_worker_request(fixture_file: Read) -> None:
    summary = summary_of({**fixture_file(NAME), "options": {"adapter": "external"}})
    at = "2026-03-02T08:15:00Z"
    job = {"job_id": "j", "status": "queued", "created_at": at, "updated_at": at, "input_summary": summary}
    assert worker_request(job)["options"] == summary["options"]
    assert options_of(summary["options"]).backend == "tensorrt"


def test_the_callers_options_lie_over_the_summarys(fixture_file: Read) -> None:
    body = {**fixture_file(NAME), "notes": "why", "job_id": "mine", "options": {
        "device": "orin", "adapter": "external", "provenance": {"model_name": "gate", "build_id": "forged"},
    }}  # fmt: skip
    summary = summary_of(body)
    assert (summary["options"]["target"], summary["options"]["adapter"]) == ("orin", "external")
    assert summary["options"]["provenance"]["model_name"] == "gate"
    assert summary["options"]["provenance"]["build_id"] == body["build_id"]
    assert summary["notes"] == "why"


def test_a_request_stays_a_request() -> None:
    request = read({"model_path": "sha256:m", "notes": "n", "options": {"engine": "x"}, "backend": "ignored"})
    assert request == AnalyzeRequest(model_path="sha256:m", notes="n", options={"engine": "x"})


@pytest.mark.parametrize(
    "field",
    [field for field in SUMMARY_FIELDS
     if field not in ("source_model_path", "metadata_path", "manifest_path", "batch", "height", "width")],
)  # fmt: skip
def test_a_summary_that_lacks_a_field_is_refused(fixture_file: Read, field: str) -> None:
    told = fixture_file(NAME)
    del told[field]
    assert field in refusal(told).detail


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch", 0), ("batch", True), ("height", "192"), ("width", -1), ("artifact_sha256", "c0ffee"),
        ("source_model_sha256", "g" * 64), ("build_id", ""), ("metadata_path", ""),
    ],
)  # fmt: skip
def test_a_field_of_the_wrong_form_is_refused(fixture_file: Read, field: str, value: Any) -> None:
    with pytest.raises((Refused, msgspec.ValidationError)):
        read({**fixture_file(NAME), field: value})


def test_half_a_request_and_half_a_summary_is_refused(fixture_file: Read) -> None:
    assert "either" in refusal({**fixture_file(NAME), "model_path": "sha256:m"}).detail


def test_what_our_own_forge_hands_over_is_taken() -> None:
    built = make_folder().dossier.candidate_build
    assert built is not None
    told = built.predicate.buildDefinition.internalParameters.worker_runtime_summary
    summary = summary_of(msgspec.to_builtins(told))
    order = order_of(
        summary["model_path"], summary["artifact_path"], options_of(summary["options"]), CATALOGUE
    )
    assert order.candidate.source == told.artifact_sha256
    assert order.baseline.source == told.source_model_sha256
