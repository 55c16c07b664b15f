"""Unsigned results: every alias is read, and a number is a number."""

from typing import Any

import pytest

from edgeproof.contract.errors import Refused
from edgeproof.contract.plain_results import read_plain_result

PLAIN: dict[str, Any] = {"model": "yolo", "engine": "tensorrt", "device": "jetson", "mean_ms": 10.0}


@pytest.mark.parametrize("value", ["fast", None, True, 0, -1.0, float("nan"), float("inf"), [1.0], "10"])
def test_mean_ms_fast_is_rejected_and_so_is_all_that_is_no_latency(value: Any) -> None:
    with pytest.raises(Refused) as refused:
        read_plain_result({**PLAIN, "mean_ms": value})
    assert refused.value.code == "result_invalid"
    assert "mean_ms" in refused.value.detail


@pytest.mark.parametrize("name", ["p50_ms", "p95_ms", "p99_ms"])
def test_a_percentile_may_be_absent_but_never_be_text(name: str) -> None:
    assert getattr(read_plain_result({**PLAIN, name: None}), name) is None
    with pytest.raises(Refused, match=name):
        read_plain_result({**PLAIN, name: "slow"})


def test_aliases_are_read_and_the_first_given_counts() -> None:
    told = read_plain_result(
        {"model_path": "m.onnx", "engine_backend": "ort", "backend": "x", "target": "cpu", "mean_ms": 1}
    )
    assert (told.model, told.engine, told.device, told.precision) == ("m.onnx", "ort", "cpu", "fp32")
    assert told.legacy


def test_objects_beside_the_aliases_are_no_names() -> None:
    """The form of the originals' own result files."""
    told = read_plain_result(
        {
            "model": {"path": "m.onnx"}, "model_path": "m.onnx", "engine": {"name": "ort"},
            "engine_backend": "ort", "device": {"name": "cpu"}, "device_name": "cpu", "mean_ms": 1,
        }
    )  # fmt: skip
    assert (told.model, told.engine, told.device) == ("m.onnx", "ort", "cpu")


@pytest.mark.parametrize("name", ["model", "engine", "device"])
def test_identity_is_required(name: str) -> None:
    with pytest.raises(Refused) as refused:
        read_plain_result({key: value for key, value in PLAIN.items() if key != name})
    assert refused.value.errors[0].path == f"$.{name}"


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": True},
        {"batch": 0},
        {"accuracy": {"metrics": {"map50": "good"}}},
        {"accuracy": {"metrics": {}}},
        {"extra": [1]},
    ],
)
def test_other_values_are_checked_too(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        read_plain_result({**PLAIN, **changes})
    with pytest.raises(Refused):
        read_plain_result("fast")


@pytest.mark.parametrize("extra", [{"a": 2**53}, {"a": ["b\0"]}, {"a\0": 1}, {"a": float("nan")}])
def test_what_json_or_a_database_cannot_hold_is_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        read_plain_result({**PLAIN, "extra": extra})
    assert refused.value.code == "result_invalid"


def test_zero_is_a_latency_of_a_dry_run_alone() -> None:
    dry = read_plain_result({**PLAIN, "mean_ms": 0, "p99_ms": 0, "run_config": {"dry_run": True}})
    assert dry.dry_run
    with pytest.raises(Refused, match="zero only in a dry run"):
        read_plain_result({**PLAIN, "p99_ms": 0, "run_config": {"dry_run": "yes"}})
