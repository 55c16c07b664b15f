"""What this runner has: toolchains and backends as they announce themselves, and the machine's facts."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Collection, Mapping
from typing import Final

import msgspec
import psutil

from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import Capabilities, EngineCapability, Isolation
from edgeproof.forge.toolchains import detect_toolchains
from edgeproof.runner.hardware import cpu_features, gpus, installed_nvml
from edgeproof.runtime.backends import detect as detect_backends
from edgeproof.runtime.environment import boot_id

__all__ = ["boot_id", "detect_capabilities", "restricted"]

STAGE_OF_TOOLCHAINS: Final = "forge"
STAGE_OF_BACKENDS: Final = "runtime"


def detect_capabilities(isolation: Isolation, labels: Mapping[str, str] | None = None) -> Capabilities:
    """Detected, never typed in, but for the operator's ``labels``.

    ``device_class`` is operating system and processor architecture.
    """
    return Capabilities(
        device_class=f"{sys.platform}-{platform.machine()}",
        cpu_count=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        isolation=isolation,
        backends=detect_backends(),
        toolchains=detect_toolchains(),
        labels=dict(labels or {}),
        cpu_features=cpu_features(),
        gpus=gpus(installed_nvml()),
    )


def restricted(capabilities: Capabilities, only: Collection[str]) -> Capabilities:
    """What is left when the operator allows ``only`` some: ``forge``, ``runtime``, ``runtime/onnxruntime`` …

    Raises ``Refused`` (``unknown_backend``) for a name that this machine does not have.
    """
    if not only:
        return capabilities
    known = {STAGE_OF_TOOLCHAINS, STAGE_OF_BACKENDS}
    known |= {f"{STAGE_OF_TOOLCHAINS}/{one.name}" for one in capabilities.toolchains}
    known |= {f"{STAGE_OF_BACKENDS}/{one.name}" for one in capabilities.backends}
    if unknown := sorted(set(only) - known):
        raise Refused(
            "unknown_backend", f"not to be had here: {', '.join(unknown)}; {', '.join(sorted(known))} are"
        )

    def kept(stage: str, engines: tuple[EngineCapability, ...]) -> tuple[EngineCapability, ...]:
        return tuple(one for one in engines if stage in only or f"{stage}/{one.name}" in only)

    return msgspec.structs.replace(
        capabilities,
        toolchains=kept(STAGE_OF_TOOLCHAINS, capabilities.toolchains),
        backends=kept(STAGE_OF_BACKENDS, capabilities.backends),
    )
