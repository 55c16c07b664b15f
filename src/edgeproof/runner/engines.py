"""What this runner has: toolchains and backends as they announce themselves, and the machine's facts."""

from __future__ import annotations

import os
import platform
import sys

import psutil

from edgeproof.contract.runners import Capabilities, Isolation
from edgeproof.forge.toolchains import detect_toolchains
from edgeproof.runtime.backends import detect as detect_backends
from edgeproof.runtime.environment import boot_id

__all__ = ["boot_id", "detect_capabilities"]


def detect_capabilities(isolation: Isolation) -> Capabilities:
    """Detected, never typed in. ``device_class`` is operating system and processor architecture."""
    return Capabilities(
        device_class=f"{sys.platform}-{platform.machine()}",
        cpu_count=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        isolation=isolation,
        backends=detect_backends(),
        toolchains=detect_toolchains(),
    )
