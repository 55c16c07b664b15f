from __future__ import annotations

import pytest

from edgeproof.contract.errors import CODES
from edgeproof.runtime import backends
from edgeproof.runtime.onnxruntime_cpu import meaning


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc", "memory_limit"),
        ("Failed to allocate memory for requested buffer of size 4398046511104", "memory_limit"),
        ("Unsupported model IR version: 99, max supported IR version: 12", "unsupported_opset"),
        ("Opset 99 is under development and support for this is limited", "unsupported_opset"),
        ("Fatal error: com.acme:Frobnicate(-1) is not a registered function/op", "unsupported_operator"),
        ("NOT_IMPLEMENTED : Could not find an implementation for Resize(19) node", "unsupported_operator"),
        ("INVALID_PROTOBUF : Load model failed:Protobuf parsing failed.", "model_not_onnx"),
        ("INVALID_ARGUMENT : Got invalid dimensions for input: x", "shape_mismatch"),
        ("FAIL : something else", "model_invalid"),
        ("", "model_invalid"),
    ],
)
def test_error_texts_have_stable_codes(text: str, code: str) -> None:
    refused = meaning(text, otherwise="model_invalid")
    assert refused.code == code in CODES
    assert refused.detail


def test_the_backend_is_found_through_its_entry_point() -> None:
    (found,) = [one for one in backends.detect() if one.name == "onnxruntime"]
    assert found.targets == ("cpu",)
    assert found.version == backends.backend("onnxruntime").versions()["onnxruntime"]
    assert backends.reference("onnxruntime") == "edgeproof.runtime.onnxruntime_cpu:OnnxRuntimeCpu"
