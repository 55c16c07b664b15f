"""Bad models end their job with a stable code, in the stage that found out."""

from __future__ import annotations

from typing import Any

import pytest

from edgeproof.client import ControlPlaneClient

from . import inputs
from .system import System, analysed, demand_failed

MODELS: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "no-onnx": (b"This is no model.", {}, "model_not_onnx"),
    "empty": (b"", {}, "model_not_onnx"),
    "truncated": (inputs.linear()[:-40], {}, "model_truncated"),
    "external-parent": (inputs.external("../../secret"), {}, "external_data_escapes"),
    "external-absolute": (inputs.external("/etc/passwd"), {}, "external_data_escapes"),
    "external-beside": (inputs.external("weights.bin"), {}, "external_data_missing"),
    "opset": (inputs.linear(opset=99), {}, "unsupported_opset"),
    "operator": (inputs.unknown_operator(), {}, "unsupported_operator"),
    "dynamic": (inputs.linear(batch="N"), {}, "dynamic_dimension"),
    "batch": (inputs.linear(), {"batch": 3}, "shape_mismatch"),
    "shape": (inputs.linear(), {"input_shapes": {"x": [1, 9]}}, "shape_mismatch"),
    "rank": (inputs.linear(), {"input_shapes": {"x": [8]}}, "shape_mismatch"),
    "input": (inputs.linear(), {"input_shapes": {"z": [1, 8]}}, "shape_mismatch"),
}


@pytest.mark.parametrize("case", MODELS)
async def test_refused_by_the_forge(system: System, user: ControlPlaneClient, case: str) -> None:
    content, options, code = MODELS[case]
    job = await analysed(user, content, **options)
    words = demand_failed(job, code, "forge", system)
    if case == "dynamic":
        assert "'x' axis 0 (N)" in words


async def test_nan_on_both_sides(system: System, user: ControlPlaneClient) -> None:
    job = await analysed(user, inputs.always_nan(), runs=5)
    demand_failed(job, "model_output_not_finite", "runtime", system)


async def test_models_that_cannot_be_compared(system: System, user: ControlPlaneClient) -> None:
    job = await analysed(user, inputs.linear(), baseline=inputs.linear(features=9))
    demand_failed(job, "incomparable_outputs", "runtime", system)


async def test_nan_on_some_samples_blocks(user: ControlPlaneClient) -> None:
    """No error: a completed job, whose decision says what is wrong with the candidate."""
    import numpy as np

    values = np.random.default_rng(3).random((48, inputs.FEATURES), dtype=np.float32)
    values[[30, 45], 2] = -1.0
    job = await analysed(
        user,
        inputs.nan_below_zero(),
        baseline=inputs.linear(),
        dataset=inputs.labelled(48, x=values),
        runs=5,
        warmup=1,
    )
    assert job.error is None
    assert job.result is not None
    decision = job.result["deployment_decision"]
    assert (decision["decision"], decision["guard_status"]) == ("blocked", "error")
    assert "guard_error_block" in decision["triggered_rules"]
    assert any(
        "2 of 48 samples gave NaN" in one for reason in decision["reasons"] for one in reason["details"]
    )
