"""Which results belong together, by the originals' keys."""

from __future__ import annotations

from typing import Any

import pytest

from edgeproof.contract.plain_results import read_plain_result
from edgeproof.lab.result_identity import ResultIdentity, identity_of, model_stem

BODY: dict[str, Any] = {
    "model": "m.onnx", "engine": "TensorRT", "device": "Jetson", "precision": "FP16",
    "batch": 1, "height": 224, "width": None, "mean_ms": 1.0,
}  # fmt: skip


def identity(**changes: Any) -> ResultIdentity:
    return identity_of(read_plain_result({**BODY, **changes}))


def test_the_keys_are_the_originals() -> None:
    told = identity()
    assert told.compare_key == "m__b1__h224wx__fp16"
    assert told.backend_key == "tensorrt__jetson"


@pytest.mark.parametrize(
    ("model", "stem"),
    [("a/b/yolov8n.onnx", "yolov8n"), ("C:\\x\\m.ENGINE", "m"), ("llama-3.1", "llama-3.1"), ("/", "/"),
     (".onnx", ".onnx")],
)  # fmt: skip
def test_the_stem_of_a_model(model: str, stem: str) -> None:
    assert model_stem(model) == stem


def test_precision_alone_does_not_part_a_pair() -> None:
    assert identity().pair_key == identity(precision="int8", engine="tensorrt").pair_key
    for changes in ({"batch": 2}, {"width": 1}, {"device": "cpu"}, {"engine": "ort"}, {"model": "n"}):
        assert identity(**changes).pair_key != identity().pair_key
