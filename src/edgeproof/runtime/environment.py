"""The device: what it is, and its state at one moment. Values that it does not tell are None."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil

from edgeproof.contract.canonical import digest_of, round6
from edgeproof.contract.results import SystemInfo
from edgeproof.contract.statements import EnvironmentSnapshot
from edgeproof.runtime import counters

_CPUS: Final = Path("/sys/devices/system/cpu")
_ZONES: Final = Path("/sys/class/thermal")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_PROTOCOL: Final = "same processors, round by round"
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
_JETSON_MODE: Final = Path("/var/lib/nvpmodel/status")
_JETSON_MODES: Final = Path("/etc/nvpmodel.conf")
_PROFILE: Final = Path("/sys/firmware/acpi/platform_profile")


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def utc_now() -> str:
    """RFC 3339, whole seconds, ``Z``. Shown, never used to order or to expire anything."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def boot_id() -> str:
    """Changes with every boot; from the boot time where the kernel names none."""
    return _text(_BOOT_ID) or f"boot-{int(psutil.boot_time())}"


def allowed_processors() -> list[int]:
    """Logical processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def physical_cores() -> int:
    """Physical cores among the allowed processors, and no more than a container's quota grants."""
    return max(1, min(len(cores()), quota(_text(_QUOTA) or "max") or len(cores())))


def cores() -> list[list[int]]:
    """The allowed processors by physical core."""
    found: dict[str, list[int]] = {}
    for number in allowed_processors():
        siblings = _text(_CPUS / f"cpu{number}" / "topology" / "thread_siblings_list") or str(number)
        found.setdefault(siblings, []).append(number)
    return list(found.values())


def quota(cpu_max: str) -> int | None:
    """Whole processors that a cgroup's ``cpu.max`` (quota, period) grants, rounded up; None is no limit."""
    granted, _, period = cpu_max.partition(" ")
    if not (granted.isdigit() and period.strip().isdigit() and int(period)):
        return None
    return max(1, -(-int(granted) // int(period)))


def cpu_model() -> str:
    for line in (_text(Path("/proc/cpuinfo")) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware") and value.strip():
            return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def system_info() -> SystemInfo:
    return SystemInfo(
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        machine=platform.machine(),
        cpu_model=cpu_model(),
        cpu_count_logical=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
    )


def conditions(
    backend: str, target: str, threads: int, versions: Mapping[str, str], latency_ns: float
) -> str:
    """SHA-256 over what the device's noise depends on: a floor holds under the conditions it was found in,
    and for the protocol it was found by.

    A power mode is part of it only where there is one. Of ``latency_ns``, a typical call of the model, only
    the magnitude counts (its power of two): what is noise to a model of microseconds is nothing to one of
    milliseconds.
    """
    return digest_of(
        {
            "backend": backend,
            "target": target,
            "threads": threads,
            "versions": {**versions, "python": platform.python_version(), "kernel": platform.release()},
            "processor": cpu_model(),
            "processors": allowed_processors(),
            "governor": _governor(),
            **({"power_mode": mode} if (mode := _power_mode()) else {}),
            "protocol": _PROTOCOL,
            "latency_magnitude": int(latency_ns).bit_length(),
        }
    )


def _governor() -> str | None:
    found = {_text(path) for path in _CPUS.glob("cpu[0-9]*/cpufreq/scaling_governor")} - {None, ""}
    return ",".join(sorted(one for one in found if one)) or None


def power_mode(status: str, catalogue: str) -> str | None:
    """The name of a Jetson's power mode, from what ``nvpmodel`` keeps: ``pmode:0002 fmode:quiet``, and a line
    ``< POWER_MODEL ID=2 NAME=MODE_15W >`` for each mode. Both are read without being root."""
    found = re.search(r"pmode:\s*(\d+)", status)
    if found is None:
        return None
    number = int(found[1])
    named = re.search(rf"POWER_MODEL\s+ID=0*{number}\s+NAME=([^\s>]+)", catalogue)
    return named[1] if named else f"nvpmodel {number}"


def _power_mode() -> str | None:
    """Of a Jetson; else the platform profile (``balanced``) that many laptops have."""
    told = power_mode(_text(_JETSON_MODE) or "", _text(_JETSON_MODES) or "")
    return told or _text(_PROFILE) or None


def _frequency_limits() -> tuple[float, ...]:
    """The highest MHz that allowed processors may reach just now (a power mode lowers it), each once."""
    texts = (_text(_CPUS / f"cpu{number}/cpufreq/scaling_max_freq") for number in allowed_processors())
    return tuple(sorted({round6(int(text) / 1000) for text in texts if text and text.isdigit()}))


def _frequencies() -> tuple[float, ...]:
    """MHz of each allowed processor that tells its frequency."""
    texts = (_text(_CPUS / f"cpu{number}/cpufreq/scaling_cur_freq") for number in allowed_processors())
    return tuple(round6(int(text) / 1000) for text in texts if text and text.isdigit())


def _temperature() -> float | None:
    """The hottest thermal zone, °C."""
    texts = (_text(path) for path in _ZONES.glob("thermal_zone*/temp"))
    values = [int(text) for text in texts if text and text.lstrip("-").isdigit()]
    return round6(max(values) / 1000) if values else None


def snapshot(versions: Mapping[str, str]) -> EnvironmentSnapshot:
    """The device now; ``versions`` are the backend's, to which Python's and the kernel's are added."""
    return EnvironmentSnapshot(
        at=utc_now(),
        governor=_governor(),
        frequency_mhz=_frequencies(),
        temperature_c=_temperature(),
        throttle_count=counters.throttle_count(),
        load_1m=round6(os.getloadavg()[0]),
        memory_available_bytes=psutil.virtual_memory().available,
        swap_used_bytes=psutil.swap_memory().used,
        versions={**versions, "python": platform.python_version(), "kernel": platform.release()},
        power_mode=_power_mode(),
        max_frequency_mhz=_frequency_limits(),
        waits_told=counters.waits_counted(),
    )
