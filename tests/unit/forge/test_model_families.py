"""Models unlike the demo's: old opsets, several inputs, embeddings, nodes that only some presets touch."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeproof.contract.errors import StageFailed
from edgeproof.forge.onnxruntime_session import open_session, quiet, run_on_zeros
from edgeproof.forge.presets import PRESETS
from edgeproof.forge.quantisation import static_int8

RANDOM = np.random.default_rng(11)


def floats(*shape: int):
    return RANDOM.normal(size=shape).astype(np.float32)


def value(name: str, *shape: int | str, kind: int = TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, list(shape))


def model(nodes, inputs, outputs, weights, opset=17, ir=8) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "g", inputs, outputs, [numpy_helper.from_array(array, name) for name, array in weights.items()]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


node = helper.make_node
FAMILIES = {
    "attention": (
        model(
            [
                node("Gather", ["emb", "ids"], ["e"]),
                node("MatMul", ["e", "wq"], ["q"]),
                node("Transpose", ["q"], ["t"], perm=[0, 2, 1]),
                node("MatMul", ["e", "t"], ["a"]),
                node("Softmax", ["a"], ["s"], axis=-1),
                node("MatMul", ["s", "e"], ["o"]),
                node("LayerNormalization", ["o", "g", "b"], ["y"]),
            ],
            [value("ids", "B", "S", kind=TensorProto.INT64)],
            [value("y", "B", "S", 16)],
            {"emb": floats(50, 16), "wq": floats(16, 16), "g": floats(16), "b": floats(16)},
        ),
        {"ids": RANDOM.integers(0, 50, (6, 8))},
        {"input_shapes": {"ids": (1, 8)}},
    ),
    "opset 9, weights listed as inputs": (
        model(
            [
                node("Conv", ["x", "w"], ["c"]),
                node("BatchNormalization", ["c", "s", "b", "m", "v"], ["y"]),
            ],
            [value("x", "N", 3, 8, 8), value("w", 4, 3, 3, 3), *(value(name, 4) for name in "sbmv")],
            [value("y", "N", 4, 6, 6)],
            {"w": floats(4, 3, 3, 3), "v": np.abs(floats(4)), **{name: floats(4) for name in "sbm"}},
            opset=9,
            ir=3,
        ),
        {"x": floats(5, 3, 8, 8)},
        {"batch": 1},
    ),
    "opset 9 with an operator that is no more": (
        model(
            [
                node("Upsample", ["x", "scales"], ["u"], mode="nearest"),
                node("Conv", ["u", "w"], ["y"]),
            ],
            [value("x", "N", 3, 4, 4)],
            [value("y", "N", 4, 6, 6)],
            {"scales": np.array([1, 1, 2, 2], np.float32), "w": floats(4, 3, 3, 3)},
            opset=9,
            ir=4,
        ),
        {"x": floats(5, 3, 4, 4)},
        {"batch": 1},
    ),
    "two inputs": (
        model(
            [node("Concat", ["x", "z"], ["c"], axis=1), node("Gemm", ["c", "w"], ["y"])],
            [value("x", "N", 3), value("z", "N", 5)],
            [value("y", "N", 2)],
            {"w": floats(8, 2)},
            opset=13,
        ),
        {"x": floats(5, 3), "z": floats(5, 5)},
        {"batch": 2},
    ),
    "resize": (
        model(
            [
                node("Resize", ["x", "", "scales"], ["r"], mode="nearest"),
                node("Conv", ["r", "w"], ["y"]),
            ],
            [value("x", "N", 3, "H", "W")],
            [value("y", "N", 4, "a", "b")],
            {"scales": np.array([1, 1, 2, 2], np.float32), "w": floats(4, 3, 3, 3)},
        ),
        {"x": floats(3, 3, 8, 8)},
        {"batch": 1, "height": 8, "width": 8},
    ),
}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_preset_builds_it_in_silence(forge, family, preset, capfd):
    source, data, shapes = FAMILIES[family]
    outcome = forge.build(forge.file(source), preset, forge.calibration(**data), **shapes)
    expected = "fp32" if preset == "source" else PRESETS[preset].precision
    assert outcome.summary.precision == expected
    assert outcome.manifest.runtime.input_shapes.keys() == data.keys()
    assert capfd.readouterr() == ("", "")


def test_scales_are_per_channel_also_where_the_opset_had_to_be_raised(forge):
    source, data, shapes = FAMILIES["opset 9, weights listed as inputs"]
    outcome = forge.build(forge.file(source), "int8_static", forge.calibration(**data), **shapes)
    assert outcome.metadata.preset_snapshot.build_options["per_channel"] == "true"
    built = onnx.load(outcome.artifact)
    assert max(one.version for one in built.opset_import if not one.domain) >= 13
    scales = [tensor for tensor in built.graph.initializer if tensor.name.endswith("_scale")]
    assert any(list(tensor.dims) == [4] for tensor in scales)


def test_scales_are_per_tensor_where_the_opset_could_not_be_raised(tmp_path):
    convolution = model(
        [node("Conv", ["x", "w"], ["y"])],
        [value("x", 1, 3, 8, 8)],
        [value("y", 1, 4, 6, 6)],
        {"w": floats(4, 3, 3, 3)},
        opset=11,
    )
    onnx.save(convolution, tmp_path / "prepared.onnx")
    batches = [{"x": floats(1, 3, 8, 8)} for _ in range(3)]
    with quiet(tmp_path):
        flags = static_int8(
            tmp_path / "prepared.onnx",
            tmp_path / "built.onnx",
            batches,
            PRESETS["int8_static"].options,
            print,
        )
    assert flags["per_channel"] == "false"
    run_on_zeros(open_session(tmp_path / "built.onnx", otherwise="build_failed"), {"x": (1, 3, 8, 8)})


@pytest.mark.parametrize("preset", PRESETS)
def test_errors_name_no_path_of_this_machine(forge, make_node, preset):
    sources = [
        make_node("Frobnicate"),
        make_node("Relu", opset=9999),
        make_node("Selu", kind=TensorProto.DOUBLE),
    ]
    for source in sources:
        with pytest.raises(StageFailed) as caught:
            forge.build(forge.file(source), preset, forge.calibration(x=floats(2, 2)))
        assert str(forge.folder) not in caught.value.detail
        assert "onnxruntime_src" not in caught.value.detail
