"""What a runner lacks of what a run needs, field by field, and the identity of a class of needs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edgeproof.contract.runners import Capabilities, EngineCapability, Gpu, Needs
from edgeproof.domain.requirements import class_digest, fits, in_words, lacking_everything, lacks, normalise

ENGINE = EngineCapability(
    name="onnxruntime",
    version="1",
    targets=("cpu",),
    precisions=("fp32", "int8"),
    quantizations=("int8_dynamic",),
)
GPU = Gpu(name="a GPU", memory_bytes=24 << 30, driver="570.1")
RUNNER = Capabilities(
    device_class="linux-x86_64",
    cpu_count=8,
    memory_bytes=16 << 30,
    isolation="rlimit",
    backends=(ENGINE,),
    toolchains=(ENGINE,),
    labels={"site": "lab", "board": "b2"},
    gpus=(msgspec.structs.replace(GPU, memory_bytes=8 << 30), GPU),
)
NEEDS = Needs(stage="runtime", backend="onnxruntime", target="cpu", precisions=("fp32",))


def needing(**fields: Any) -> Needs:
    return msgspec.structs.replace(NEEDS, **fields)


@pytest.mark.parametrize(
    ("needs", "lack"),
    [
        ({"precisions": ("int8",)}, None),
        ({"precisions": ("unknown",)}, None),
        ({"precisions": ("fp16",)}, "precision fp16 (has fp32, int8)"),
        ({"quantizations": ("int8_dynamic",)}, None),
        ({"quantizations": ("int8_static",)}, "quantization int8_static (has int8_dynamic)"),
        ({"target": "cuda"}, "target cuda (has cpu)"),
        ({"backend": "tensorrt"}, "backend tensorrt (has onnxruntime)"),
        ({"stage": "forge", "backend": "tensorrt"}, "toolchain tensorrt (has onnxruntime)"),
        ({"device_class": "linux-x86_64"}, None),
        ({"device_class": "linux-aarch64"}, "device class linux-aarch64 (is linux-x86_64)"),
        ({"min_memory_bytes": 16 << 30}, None),
        ({"min_memory_bytes": (16 << 30) + 1}, "16 GiB of memory (has 16 GiB)"),
        ({"min_memory_bytes": 64 << 30}, "64 GiB of memory (has 16 GiB)"),
        ({"min_vram_bytes": 24 << 30}, None),
        ({"min_vram_bytes": 25 << 30}, "a GPU with 25 GiB (the largest has 24 GiB)"),
        ({"min_isolation": "rlimit"}, None),
        ({"min_isolation": "namespaces"}, "isolation namespaces (has rlimit)"),
        ({"labels": {"site": ("lab",), "board": ("b2",)}}, None),
        ({"labels": {"site": ("field", "lab")}}, None),
        ({"labels": {"site": ("field",)}}, "label site=field (has site=lab)"),
        ({"labels": {"site": ("field", "roof")}}, "label site=field or roof (has site=lab)"),
        ({"labels": {"rack": ("1",)}}, "label rack=1 (has no label rack)"),
        ({"labels": {"site": ("LAB",)}}, "label site=LAB (has site=lab)"),
    ],
)
def test_each_need_is_met_or_named_with_what_there_is_instead(
    needs: dict[str, Any], lack: str | None
) -> None:
    found = [str(one) for one in lacks(needing(**needs), RUNNER)]
    assert found == ([] if lack is None else [lack])
    assert fits(needing(**needs), RUNNER) is (lack is None)


def test_without_a_gpu_no_gpu_memory_is_had() -> None:
    bare = msgspec.structs.replace(RUNNER, gpus=())
    assert [str(one) for one in lacks(needing(min_vram_bytes=1), bare)] == ["a GPU with 0 MiB (has none)"]
    assert fits(NEEDS, bare)


def test_the_gpus_are_not_added_up() -> None:
    assert not fits(needing(min_vram_bytes=32 << 30), RUNNER)


def test_builds_ask_the_toolchains_and_measurements_the_backends() -> None:
    measures = msgspec.structs.replace(RUNNER, toolchains=())
    assert fits(needing(stage="runtime"), measures)
    assert not fits(needing(stage="forge"), measures)
    builds = msgspec.structs.replace(RUNNER, backends=())
    assert fits(needing(stage="forge"), builds)
    assert not fits(needing(stage="runtime"), builds)


def test_a_runner_from_before_quantisation_was_told_is_judged_by_its_precisions() -> None:
    silent = msgspec.structs.replace(ENGINE, quantizations=None)
    old = msgspec.structs.replace(RUNNER, backends=(silent,))
    assert fits(needing(precisions=("int8",), quantizations=("int8_static",)), old)
    assert not fits(needing(precisions=("fp16",), quantizations=("int8_static",)), old)
    told = msgspec.json.decode(b'{"name": "onnxruntime", "version": "1"}', type=EngineCapability)
    assert told.quantizations is None


def test_all_that_is_lacking_is_named_and_the_share_says_how_near_a_runner_is() -> None:
    needs = needing(min_vram_bytes=48 << 30, labels={"site": ("field",)})
    assert [(one.need, one.share) for one in lacks(needs, RUNNER)] == [
        ("a GPU with 48 GiB", 0.5),
        ("label site=field", 1.0),
    ]
    (engine,) = lacks(needing(backend="tensorrt", precisions=("fp16", "int8")), RUNNER)
    assert engine.share == 4


def test_numbers_that_no_device_has_lack_and_break_nothing() -> None:
    odd = msgspec.structs.replace(
        RUNNER, memory_bytes=-1, gpus=(msgspec.structs.replace(GPU, memory_bytes=-1),)
    )
    assert fits(NEEDS, odd)
    assert len(lacks(needing(min_memory_bytes=1, min_vram_bytes=1), odd)) == 2


def test_where_there_is_no_runner_the_needs_themselves_are_told() -> None:
    needs = needing(device_class="linux-aarch64", min_vram_bytes=8 << 30, labels={"site": ("lab",)})
    assert lacking_everything(needs) == (
        "backend onnxruntime",
        "device class linux-aarch64",
        "a GPU with 8 GiB",
        "label site=lab",
    )


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        (NEEDS, "runtime on onnxruntime/cpu, fp32"),
        (needing(stage="forge", precisions=()), "forge on onnxruntime/cpu, any precision"),
        (
            needing(
                precisions=("int8",),
                quantizations=("int8_static",),
                min_isolation="namespaces",
                device_class="linux-aarch64",
                min_memory_bytes=8 << 30,
                min_vram_bytes=24 * 10**9,
                labels={"site": ("lab", "roof")},
            ),
            "runtime on onnxruntime/cpu, int8, int8_static, isolation namespaces, linux-aarch64,"
            " 8 GiB of memory, a GPU with 22.352 GiB, label site=lab or roof",
        ),
    ],
)
def test_a_class_in_words(needs: Needs, words: str) -> None:
    assert in_words(needs) == words


def test_one_class_has_one_spelling() -> None:
    one = needing(
        precisions=("int8", "fp32"),
        quantizations=("b", "a", "b"),
        labels={"site": ("roof", "lab", "lab"), "board": ("b2",)},
    )
    other = needing(
        precisions=("fp32", "int8", "fp32"),
        quantizations=("a", "b"),
        labels={"board": ("b2",), "site": ("lab", "roof")},
    )
    assert normalise(one) == normalise(other)
    assert class_digest(one) == class_digest(other)


def test_every_field_makes_another_class() -> None:
    """Also a field that is added later: it must be told apart here."""
    other = {
        "stage": "forge",
        "backend": "tensorrt",
        "target": "cuda",
        "precisions": ("fp16",),
        "min_memory_bytes": 1,
        "min_isolation": "rlimit",
        "device_class": "linux-aarch64",
        "min_vram_bytes": 1,
        "quantizations": ("int8_static",),
        "labels": {"site": ("lab",)},
    }
    assert set(other) == set(Needs.__struct_fields__)
    digests = {class_digest(needing(**{name: value})) for name, value in other.items()}
    assert len(digests | {class_digest(NEEDS)}) == len(other) + 1


@pytest.mark.parametrize(
    ("needs", "digest"),
    [
        (needing(stage="forge"), "ba7014619c376438513639fa527504b0e431fb97760112dc620f2caf32d77b1b"),
        (
            needing(precisions=("fp32", "fp16"), min_isolation="namespaces"),
            "759b041dea40c753929f70046bb9b719d493284387509fd7a316cfaa831dbdae",
        ),
    ],
)
def test_classes_keep_the_digests_that_databases_have(needs: Needs, digest: str) -> None:
    """As computed when a class was stage, backend, target, precisions, memory and isolation alone."""
    assert class_digest(needs) == digest
