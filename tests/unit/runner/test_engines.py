"""Capabilities: detected, labelled and restricted by the operator, never invented."""

from __future__ import annotations

import pytest

from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import Capabilities, EngineCapability
from edgeproof.runner.engines import detect_capabilities, restricted

ORT = EngineCapability(name="onnxruntime", version="1")
TRT = EngineCapability(name="tensorrt", version="1")
BOTH = Capabilities(
    device_class="linux-x86_64",
    cpu_count=1,
    memory_bytes=1,
    isolation="none",
    backends=(ORT, TRT),
    toolchains=(ORT,),
)


def test_labels_are_the_operators() -> None:
    assert detect_capabilities("none", {"site": "lab"}).labels == {"site": "lab"}


@pytest.mark.parametrize(
    ("only", "toolchains", "backends"),
    [
        ((), (ORT,), (ORT, TRT)),
        (("forge",), (ORT,), ()),
        (("runtime",), (), (ORT, TRT)),
        (("runtime/tensorrt",), (), (TRT,)),
        (("forge/onnxruntime", "runtime/tensorrt"), (ORT,), (TRT,)),
    ],
)
def test_only_what_is_allowed_is_left(only: tuple[str, ...], toolchains: object, backends: object) -> None:
    left = restricted(BOTH, only)
    assert (left.toolchains, left.backends) == (toolchains, backends)


def test_a_restriction_to_what_is_not_here_is_refused() -> None:
    with pytest.raises(Refused, match=r"runtime/openvino; forge, forge/onnxruntime") as refused:
        restricted(BOTH, ("runtime/openvino",))
    assert refused.value.code == "unknown_backend"
