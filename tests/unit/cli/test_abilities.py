"""What a runner can do, as an operator reads it."""

from __future__ import annotations

import pytest

from edgeproof.cli.abilities import engine_in_words, gpu_in_words, lines_of
from edgeproof.cli.display import run_line
from edgeproof.contract.jobs import RunView
from edgeproof.contract.runners import Capabilities, EngineCapability, Gpu

ENGINE = EngineCapability(
    name="onnxruntime",
    version="1.29.0",
    targets=("cpu",),
    precisions=("fp32", "int8"),
    quantizations=("int8_dynamic", "int8_static"),
)
GPU = Gpu(name="NVIDIA L4", memory_bytes=24 << 30, driver="570.1", compute_capability="8.9")


def test_everything_it_tells_is_a_line() -> None:
    able = Capabilities(
        device_class="linux-x86_64",
        cpu_count=8,
        memory_bytes=16 << 30,
        isolation="namespaces",
        backends=(ENGINE,),
        toolchains=(ENGINE,),
        labels={"site": "lab", "board": "b2"},
        cpu_features=("avx2", "fma"),
        gpus=(GPU, GPU),
    )
    engine = "onnxruntime 1.29.0 (cpu: fp32, int8; int8_dynamic, int8_static)"
    gpu = "NVIDIA L4, 24.0 GiB, driver 570.1, compute capability 8.9"
    assert list(lines_of(able)) == [
        ("device", "linux-x86_64, 8 CPUs, 16.0 GiB"),
        ("isolation", "namespaces"),
        ("features", "avx2 fma"),
        ("gpu", gpu),
        ("gpu", gpu),
        ("label", "board=b2"),
        ("label", "site=lab"),
        ("backend", engine),
        ("toolchain", engine),
    ]


def test_what_it_does_not_tell_is_left_out() -> None:
    bare = Capabilities(device_class="x", cpu_count=1, memory_bytes=1 << 30, isolation="none")
    assert [kind for kind, _ in lines_of(bare)] == ["device", "isolation"]
    old = EngineCapability(name="onnxruntime", version="1", targets=("cpu",), precisions=("fp32",))
    assert engine_in_words(old) == "onnxruntime 1 (cpu: fp32)"
    assert gpu_in_words(Gpu(name="a", memory_bytes=0, driver="1")) == "a, 0.0 GiB, driver 1"


@pytest.mark.parametrize(
    ("waiting_for", "position", "line"),
    [
        ((), None, "forge/candidate PENDING attempt 0"),
        ((), 3, "forge/candidate PENDING attempt 0, place 3 in the queue"),
        (
            ("label site=lab (has no label site)", "a GPU with 24 GiB (has none)"),
            1,
            "forge/candidate PENDING attempt 0, place 1 in the queue,"
            " waiting for label site=lab (has no label site); a GPU with 24 GiB (has none)",
        ),
    ],
)
def test_a_waiting_run_says_what_for(waiting_for: tuple[str, ...], position: int | None, line: str) -> None:
    run = RunView(
        run_id="r",
        stage="forge",
        role="candidate",
        state="PENDING",
        attempt=0,
        waiting_for=waiting_for,
        queue_position=position,
    )
    assert run_line(run) == line


def test_a_run_under_a_lease_says_what_is_done() -> None:
    says = "measuring"
    run = RunView(run_id="r", stage="runtime", role="pair", state="CLAIMED", attempt=1, status_text=says)
    assert run_line(run) == "runtime/pair CLAIMED attempt 1, measuring"
