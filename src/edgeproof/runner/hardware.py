"""What the device has besides toolchains and backends: processor features, and GPUs through NVML.

Detected, never typed in. NVML is NVIDIA's management library; its Python binding is the extra ``nvidia``.
Without the binding, the driver or a GPU there is simply none to tell of.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final, Protocol

from edgeproof.contract.runners import Gpu

_log = logging.getLogger(__name__)

_CPUINFO: Final = Path("/proc/cpuinfo")
# What decides which kernels a backend picks: SIMD width, dot products, reduced precision.
_TOLD: Final = frozenset(
    {
        "sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni",
        "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16",
        "amx_tile", "amx_int8", "amx_bf16", "amx_fp16",
        "neon", "asimd", "asimdhp", "asimddp", "fphp", "i8mm", "bf16", "sve", "sve2", "svei8mm", "svebf16",
    }
)  # fmt: skip


class Nvml(Protocol):
    """The part of ``pynvml`` that is used; every call may raise ``NVMLError``."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlSystemGetDriverVersion(self) -> str: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...
    def nvmlDeviceGetName(self, handle: Any) -> str: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...
    def nvmlDeviceGetCudaComputeCapability(self, handle: Any) -> tuple[int, int]: ...


def cpu_features(cpuinfo: Path = _CPUINFO) -> tuple[str, ...]:
    """Sorted; those of the first processor, by the kernel's names. Empty where nothing tells them."""
    try:
        text = cpuinfo.read_text(errors="replace")
    except OSError:
        return ()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return tuple(sorted(_TOLD & set(value.split())))
    return ()


def installed_nvml() -> Nvml | None:
    try:
        import pynvml
    except ImportError:
        return None
    binding: Nvml = pynvml
    return binding


def gpus(nvml: Nvml | None) -> tuple[Gpu, ...]:
    """In NVML's order; one that does not answer is left out. What fails is logged: a driver that is missing
    and one that this process may not use look alike from elsewhere."""
    if nvml is None:
        return ()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return _failed(error)
    try:
        driver = nvml.nvmlSystemGetDriverVersion()
        found = [_gpu(nvml, index, driver) for index in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError as error:
        return _failed(error)
    finally:
        nvml.nvmlShutdown()
    return tuple(one for one in found if one is not None)


def _failed(error: Exception) -> tuple[Gpu, ...]:
    _log.warning("NVML is installed but fails, so no GPU is offered: %s", error)
    return ()


def _gpu(nvml: Nvml, index: int, driver: str) -> Gpu | None:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
        return Gpu(
            name=nvml.nvmlDeviceGetName(handle),
            memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
            driver=driver,
            compute_capability=f"{major}.{minor}",
        )
    except nvml.NVMLError as error:
        _log.warning("GPU %s does not answer NVML, so it is not offered: %s", index, error)
        return None
