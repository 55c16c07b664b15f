"""What bad model files get, each tried with a real file through the whole build."""

from __future__ import annotations

import io
import pickle
import random
import zipfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeproof.contract.errors import StageFailed
from edgeproof.forge.onnx_bytes import demand_whole_model
from edgeproof.forge.onnx_model import precision_of


def code_of(forge, content, **changes) -> str:
    with pytest.raises(StageFailed) as caught:
        forge.build(forge.file(content), **changes)
    assert not list(forge.workspace.iterdir())
    return caught.value.code


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.onnx", b"no")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"This is a text about models.",
        b"BBBB and a text that starts like a field",
        b"<html><body>404</body></html>",
        b'{"model": 1}',
        b"\x00" * 100,
        b"\xff" * 100,
        pickle.dumps({"weights": [1, 2, 3]}),
        zipped(),
        b"\x08\x01\x12\x04\xff\xfe\x00\x01",  # a protobuf of another kind
        b"\x08\x00",
        b"\x08" + b"\xff" * 20,
        *(random.Random(seed).randbytes(1000) for seed in range(8)),
    ],
    ids=lambda content: repr(content[:8]),
)
def test_not_onnx(forge, content):
    assert code_of(forge, content) == "model_not_onnx"


def test_truncated_at_every_byte(make_cnn):
    whole = make_cnn().SerializeToString()
    demand_whole_model(whole)
    for length in range(2, len(whole)):
        with pytest.raises(StageFailed) as caught:
            demand_whole_model(whole[:length])
        assert caught.value.code == "model_truncated", length


@pytest.mark.parametrize("part", [0.01, 0.3, 0.5, 0.9, 0.999])
def test_truncated_through_the_build(forge, make_cnn, part):
    whole = make_cnn().SerializeToString()
    assert code_of(forge, whole[: int(len(whole) * part)]) == "model_truncated"


def test_whole_on_the_outside_and_broken_within(forge, make_cnn):
    model = make_cnn()
    graph = model.graph.SerializeToString()
    broken = bytes([0x08, 8, 0x3A, 4, 0x0A, 0x7F, 1, 1, 0x42, 2, 0x10, 17])
    assert code_of(forge, broken) == "model_invalid"
    assert graph in model.SerializeToString()


def test_invalid_graphs(forge, make_cnn, make_node):
    dangling = make_cnn()
    dangling.graph.node[0].input[0] = "nowhere"
    assert code_of(forge, dangling, batch=1) == "model_invalid"
    unsorted = make_cnn()
    first = unsorted.graph.node.pop(0)
    unsorted.graph.node.append(first)
    assert code_of(forge, unsorted, batch=1) == "model_invalid"
    unnamed = make_cnn()
    unnamed.graph.name = ""
    assert code_of(forge, unnamed, batch=1) == "model_invalid"
    assert code_of(forge, make_node("LeakyRelu", alpha="steep")) == "model_invalid"


def test_an_input_that_is_no_tensor(forge):
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)
    graph = helper.make_graph(
        [helper.make_node("SequenceLength", ["x"], ["y"])],
        "sequence",
        [sequence],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert code_of(forge, model) == "model_invalid"


@pytest.mark.parametrize("opset", [onnx.defs.onnx_opset_version() + 1, 9999])
def test_an_opset_from_the_future(forge, make_node, opset):
    assert code_of(forge, make_node("Relu", opset=opset)) == "unsupported_opset"


def test_an_ir_version_from_the_future(forge, make_node):
    model = make_node("Relu")
    model.ir_version = 99
    assert code_of(forge, model) == "unsupported_opset"


def test_operators_that_nobody_knows_or_has_no_kernel_for(forge, make_node):
    assert code_of(forge, make_node("Frobnicate")) == "unsupported_operator"
    assert code_of(forge, make_node("Frobnicate", domain="my.domain")) == "unsupported_operator"
    # float64 convolution-like kernels are missing on the CPU; Selu has one for float alone
    assert code_of(forge, make_node("Selu", kind=TensorProto.DOUBLE)) == "unsupported_operator"


def external(location: str, *, where: str = "initializer") -> onnx.ModelProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 2])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "external",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2])],
    )
    if where == "initializer":
        graph.initializer.append(tensor)
    else:
        graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))
    if where == "subgraph":
        constant = graph.node[0]
        inner = helper.make_graph([constant], "inner", [], [helper.make_empty_tensor_value_info("w")])
        del graph.node[0]
        graph.node.insert(0, helper.make_node("If", ["c"], ["w"], then_branch=inner, else_branch=inner))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("where", ["initializer", "attribute", "subgraph"])
@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../secret", "a/../../secret", "..\\secret", "C:\\secret", "\\\\host\\share", "", "a\0b"],
)
def test_external_data_that_leaves_the_folder(forge, location, where):
    assert code_of(forge, external(location, where=where)) == "external_data_escapes"


def test_external_data_behind_a_link(forge, tmp_path):
    (tmp_path / "inside").symlink_to("/etc")
    assert code_of(forge, external("inside/passwd")) == "external_data_escapes"
    (tmp_path / "loop").symlink_to("loop")
    assert code_of(forge, external("loop")) in ("external_data_escapes", "external_data_missing")


def test_external_data_is_missing_even_where_a_file_of_that_name_lies_beside(forge):
    assert code_of(forge, external("weights.bin")) == "external_data_missing"
    forge.file(np.ones(4, np.float32).tobytes(), "weights.bin")
    assert code_of(forge, external("weights.bin")) == "external_data_missing"


def test_dynamic_dimensions_are_named(forge, make_cnn):
    with pytest.raises(StageFailed, match=r"'image' axis 0 \(N\); input 'image' axis 2 \(H\)"):
        forge.build(forge.file(make_cnn(height="H")))
    outcome = forge.build(forge.file(make_cnn(height="H")), "fp32", batch=2, height=12)
    assert outcome.manifest.runtime.input_shapes == {"image": (2, 1, 12, 8)}
    assert (outcome.summary.batch, outcome.summary.height, outcome.summary.width) == (2, 12, 8)


@pytest.mark.parametrize(
    ("kind", "precision"),
    [
        (TensorProto.FLOAT, "fp32"),
        (TensorProto.FLOAT16, "fp16"),
        (TensorProto.DOUBLE, "unknown"),
        (TensorProto.INT32, "unknown"),
    ],
)
def test_precision_without_weights_is_that_of_the_inputs(make_node, kind, precision):
    assert precision_of(make_node("Abs", kind=kind)) == precision
