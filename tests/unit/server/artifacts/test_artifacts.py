"""Which artifacts a stage's configuration lets its runner read."""

from __future__ import annotations

import msgspec

from edgeproof.contract.statements import DuetPlan, ForgeConfig, MeasuredArtifact, RuntimeConfig
from edgeproof.server.artifacts.artifacts import named_digests


def test_a_builds_configuration_names_source_and_calibration() -> None:
    config = ForgeConfig(
        role="candidate",
        backend="onnxruntime",
        target="cpu",
        preset="int8_static",
        precision="int8",
        source="s",
        source_name="model.onnx",
        calibration="c",
        input_shapes={},
        batch=None,
        height=None,
        width=None,
    )
    assert named_digests(config) == {"s", "c"}
    assert named_digests(msgspec.structs.replace(config, calibration=None)) == {"s"}


def test_a_duets_configuration_names_both_sides_and_the_data_set() -> None:
    def side(letter: str) -> MeasuredArtifact:
        artifact, build, source = (letter + number for number in "123")
        return MeasuredArtifact(
            artifact=artifact, build=build, source=source, precision="fp32", model_name="model"
        )

    plan = DuetPlan(
        looks=(8,),
        confidence=0.95,
        gates={"p50": 5.0},
        blocks=4,
        calls_per_block=0,
        repeats=2,
        load_difference=0.05,
        settle_calls=1,
        warmup_calls=1,
        warmup_windows=12,
        warmup_tolerance_pct=5.0,
    )
    config = RuntimeConfig(
        backend="onnxruntime",
        target="cpu",
        threads=1,
        baseline=side("a"),
        candidate=side("b"),
        dataset=None,
        input_shapes={},
        batch=None,
        height=None,
        width=None,
        plan=plan,
        min_isolation="none",
    )
    assert named_digests(config) == {"a1", "a2", "a3", "b1", "b2", "b3"}
    assert named_digests(msgspec.structs.replace(config, dataset="d")) >= {"d", "a1", "b3"}
