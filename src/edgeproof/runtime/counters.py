"""What the operating system counts: processor time, waits, throttling, frequency limits, swapping, memory.

Standard library only: measured processes import it too. On systems without ``/proc`` and ``/sys`` the
counters stand still, so that nothing is flagged and the load reads 0.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Counters(NamedTuple):
    """Since boot: busy processor time of the machine (ns, 10 ms steps), throttle events, swapped pages.

    ``frequency_limits`` are the highest frequencies that each processor is allowed just now, kHz.
    """

    busy_ns: int
    throttles: int | None
    swapped_pages: int
    frequency_limits: tuple[str, ...] = ()


@functools.cache
def _throttle_files() -> tuple[Path, ...]:
    return tuple(
        sorted(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def throttle_count() -> int | None:
    """Thermal throttle events of all cores, or None where the kernel does not count them."""
    try:
        counts = [int(path.read_text()) for path in _throttle_files()]
    except (OSError, ValueError):
        return None
    return sum(counts) if counts else None


def busy_ns(stat: str) -> int:
    """Busy time in ``/proc/stat``: user, nice, system, irq, softirq and steal of all processors."""
    fields = stat.partition("\n")[0].split()[1:9]
    if len(fields) < 8:
        return 0
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(one) for one in fields)
    return (user + nice + system + irq + softirq + steal) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def swapped_pages(vmstat: str) -> int:
    """Pages swapped in and out, from ``/proc/vmstat``."""
    lines = (line.split() for line in vmstat.splitlines())
    return sum(int(line[1]) for line in lines if line[:1] in (["pswpin"], ["pswpout"]))


@functools.cache
def _limit_files() -> tuple[str, ...]:
    return tuple(sorted(map(str, Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_max_freq"))))


def read() -> Counters:
    return Counters(
        busy_ns(_text("/proc/stat")),
        throttle_count(),
        swapped_pages(_text("/proc/vmstat")),
        tuple(map(_text, _limit_files())),
    )


def queued_ns() -> Mapping[str, int]:
    """Per thread of this process, the time it ever stood ready in a run queue (``/proc/…/schedstat``).

    Nanoseconds, exact, and of this process alone, where ``/proc/stat`` counts the machine in steps of 10 ms.
    Empty where the kernel does not count it.
    """
    try:
        threads = [thread.name for thread in Path("/proc/self/task").iterdir()]
    except OSError:
        return {}
    found = {thread: _text(f"/proc/self/task/{thread}/schedstat").split() for thread in threads}
    return {thread: int(fields[1]) for thread, fields in found.items() if len(fields) == 3}


def waits_counted() -> bool:
    """Whether the kernel counts what ``queued_ns`` reads."""
    return counts_waits(_text("/proc/self/schedstat"))


def counts_waits(schedstat: str) -> bool:
    """Whether a running process's ``schedstat`` counts: some kernels have none, some leave it at zeros."""
    fields = schedstat.split()
    return len(fields) == 3 and set(fields) != {"0"}


def wait(before: Mapping[str, int], after: Mapping[str, int], *, wall_ns: int) -> float:
    """The largest share (0 to 1) of the time between two readings that one thread stood in a run queue.

    The largest and not the mean: a call ends when its slowest thread does.
    """
    if wall_ns <= 0:
        return 0.0
    longest = max((queued - before.get(thread, 0) for thread, queued in after.items()), default=0)
    return float(f"{min(max(longest / wall_ns, 0.0), 1.0):.6g}")


def other_load(before: Counters, after: Counters, *, own_ns: int, wall_ns: int, processors: int) -> float:
    """Share (0 to 1) of the machine's processor time that others used between two readings."""
    if wall_ns <= 0:
        return 0.0
    share = (after.busy_ns - before.busy_ns - own_ns) / (wall_ns * processors)
    return float(f"{min(max(share, 0.0), 1.0):.6g}")


def flags(before: Counters, after: Counters) -> tuple[str, ...]:
    """What makes the calls between two readings unusable."""
    found: list[str] = []
    if before.throttles != after.throttles:
        found.append("throttled")
    if before.swapped_pages != after.swapped_pages:
        found.append("swapped")
    if before.frequency_limits != after.frequency_limits:
        found.append("frequency")
    return tuple(found)


def peak_rss_bytes() -> int:
    """Peak resident memory of this process.

    Not ``getrusage``: its peak survives ``exec`` and would be that of the process that started this one.
    """
    for line in _text("/proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
