"""What a worker's ``runtime_result`` must be: strict where the originals were not, and told whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edgeproof.contract.plain_results import identity, is_dry_run
from edgeproof.lab.worker_result import MAX_VIOLATIONS, result_violations

Read = Callable[[str], Any]
LATENCIES = ("mean_ms", "p50_ms", "p95_ms", "p99_ms")
AXES = ("batch", "height", "width")


@pytest.fixture
def result(fixture_file: Read) -> Any:
    return fixture_file("worker_completed_response")["runtime_result"]


@pytest.fixture
def dry(fixture_file: Read) -> Any:
    return fixture_file("runtime_worker_completed_response")["runtime_result"]


def wrong(result: dict[str, Any], **changes: Any) -> list[str]:
    """Which fields are wrong after the changes; ``...`` takes a field out."""
    made = {key: value for key, value in {**result, **changes}.items() if value is not ...}
    return [one.path.removeprefix("$.runtime_result.") for one in result_violations(made)]


def test_both_fixtures_are_good(result: Any, dry: Any) -> None:
    assert result_violations(result) == result_violations(dry) == ()


@pytest.mark.parametrize("field", ["model", "engine", "device", "precision", *AXES, *LATENCIES, "timestamp"])
def test_a_field_is_required(result: Any, field: str) -> None:
    assert wrong(result, **{field: ...}) == [field]


@pytest.mark.parametrize(
    ("field", "aliases"),
    [
        ("model", ("model", "model_path")),
        ("engine", ("engine", "engine_backend", "backend")),
        ("device", ("device", "device_name", "target")),
    ],
)
def test_aliases_stand_for_a_field_and_the_first_given_counts(
    result: Any, field: str, aliases: tuple[str, ...]
) -> None:
    for alias in aliases:
        assert wrong(result, **{field: ..., alias: "by alias"}) == []
        assert identity({alias: "by alias"})[field] == "by alias"
    assert (
        identity(dict.fromkeys(aliases, "last") | {aliases[0]: None, aliases[1]: "first"})[field] == "first"
    )
    assert wrong(result, **{field: 7}) == [field]


def test_objects_beside_the_aliases_are_no_names(result: Any) -> None:
    """The form of the originals' own result files."""
    theirs = {
        "model": {"path": "m.onnx", "name": "m"}, "model_path": "m.onnx",
        "engine": {"name": "onnxruntime", "available": True}, "engine_backend": "onnxruntime",
        "device": {"name": "cpu"}, "device_name": "cpu",
        "latency_ms": {"mean": 1.0, "samples": [1.0, 1.1]},
    }  # fmt: skip
    assert wrong(result, **theirs) == []
    assert identity(theirs) == {"model": "m.onnx", "engine": "onnxruntime", "device": "cpu"}
    assert wrong(result, **{**theirs, "device_name": None}) == ["device"]


@pytest.mark.parametrize("field", LATENCIES)
@pytest.mark.parametrize("value", ["fast", None, True, -0.1, float("nan"), float("inf"), 1e10, []])
def test_a_latency_is_a_finite_number_of_at_least_zero(result: Any, field: str, value: Any) -> None:
    assert set(wrong(result, **{field: value})) == {field}


@pytest.mark.parametrize("field", LATENCIES)
def test_a_latency_is_zero_only_in_a_dry_run(result: Any, dry: Any, field: str) -> None:
    assert wrong(result, **{field: 0}) == [field]
    assert wrong(dry, **{field: 0}) == []
    assert wrong(dry, **{field: -1}) == [field]


@pytest.mark.parametrize(
    "marks",
    [
        {"run_config": {"dry_run": True}},
        {"extra": {"dry_run": True}},
        {"extra": {"worker_response_mode": "dry_run"}},
    ],
)
def test_what_a_dry_run_is(marks: dict[str, Any]) -> None:
    assert is_dry_run(marks)
    assert not is_dry_run({"run_config": {"dry_run": "no"}, "extra": None})


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("value", [0, -1, 1.5, "1", True])
def test_an_axis_is_a_positive_whole_number(result: Any, axis: str, value: Any) -> None:
    assert wrong(result, **{axis: value}) == [axis]


@pytest.mark.parametrize("axis", AXES)
def test_an_axis_is_null_only_beside_input_shapes(result: Any, axis: str) -> None:
    assert wrong(result, **{axis: None}) == [axis]
    assert wrong(result, **{axis: None}, input_shapes={"tokens": [1, 128]}) == []
    assert wrong(result, **{axis: None}, input_shapes={}) == ["input_shapes", axis]
    assert wrong(result, **{axis: None}, input_shapes={"tokens": [0]}) == ["input_shapes[...][0]"]


@pytest.mark.parametrize("at", ["2026-03-02T08:16:20", "2026-03-02", "now", 1, None])
def test_the_timestamp_is_rfc_3339(result: Any, at: Any) -> None:
    assert wrong(result, timestamp=at) == ["timestamp"]


@pytest.mark.parametrize("value", ["", "abc", "g" * 64, "a" * 63, 5, ["a" * 64]])
def test_digests_are_digests_where_they_are(result: Any, value: Any) -> None:
    for place in ({"artifact_sha256": value}, {"extra": {"runtime_artifact_sha256": value}}):
        assert wrong(result, **place) == ([] if isinstance(value, list) else [
            "artifact_sha256" if "artifact_sha256" in place else "extra.runtime_artifact_sha256"
        ])  # fmt: skip
    assert wrong(result, extra={"source_model_sha256": None}) == []
    assert wrong(result, extra={"source_model_sha256": "ABCDEF01" * 8}) == []


def test_the_latency_table_beside_has_numbers_too(result: Any) -> None:
    assert wrong(result, latency_ms={"mean": 1.0, "std": 0, "p90": None}) == []
    assert wrong(result, latency_ms={"mean": -1, "p50": "x"}) == ["latency_ms.mean", "latency_ms.p50"]
    assert wrong(result, latency_ms=[]) == ["latency_ms"]


def test_numbers_are_finite_wherever_they_are(result: Any) -> None:
    assert wrong(result, extra={"deep": [{"x": float("inf")}]}) == ["extra.deep[0].x"]
    nested: dict[str, Any] = {}
    for _ in range(100):
        nested = {"n": nested}
    assert len(wrong(result, extra=nested)) == 1


def test_all_violations_are_told_up_to_a_bound() -> None:
    assert len(wrong({})) == 12
    assert len(wrong({}, extra={f"{number}_sha256": "x" for number in range(200)})) == MAX_VIOLATIONS
