"""What a runner can do, in words for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeproof.contract.runners import Capabilities, EngineCapability, Gpu


def lines_of(able: Capabilities) -> Iterator[tuple[str, str]]:
    """Kind and words of each thing that it tells of itself."""
    yield "device", f"{able.device_class}, {able.cpu_count} CPUs, {_gib(able.memory_bytes)}"
    yield "isolation", able.isolation
    if able.cpu_features:
        yield "features", " ".join(able.cpu_features)
    for gpu in able.gpus:
        yield "gpu", gpu_in_words(gpu)
    for key, value in sorted(able.labels.items()):
        yield "label", f"{key}={value}"
    for kind, engines in (("backend", able.backends), ("toolchain", able.toolchains)):
        for engine in engines:
            yield kind, engine_in_words(engine)


def engine_in_words(engine: EngineCapability) -> str:
    """``onnxruntime 1.29.0 (cpu: fp16, fp32, int8; int8_dynamic, int8_static)``."""
    told = f"{', '.join(engine.targets)}: {', '.join(engine.precisions)}"
    if engine.quantizations:
        told += f"; {', '.join(engine.quantizations)}"
    return f"{engine.name} {engine.version} ({told})"


def gpu_in_words(gpu: Gpu) -> str:
    told = f"{gpu.name}, {_gib(gpu.memory_bytes)}, driver {gpu.driver}"
    return told if gpu.compute_capability is None else f"{told}, compute capability {gpu.compute_capability}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
