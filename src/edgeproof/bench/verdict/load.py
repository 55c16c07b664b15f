"""A load beside the measurement: a process that keeps one processor busy, and dies with us."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

from edgeproof.contract.errors import Refused

_SPIN: Final = """
import os, time
os.sched_setaffinity(0, {{{processor}}})
while os.getppid() == {parent}:
    until = time.monotonic() + 0.05
    while time.monotonic() < until:
        pass
"""


@contextlib.contextmanager
def busy_processor() -> Iterator[int]:
    """Keeps the last of our processors, which is told, busy.

    Raises ``Refused`` (``isolation_unavailable``) where there is no other processor, or none can be chosen.
    """
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        raise Refused("isolation_unavailable", "a load on the other core needs two processors, and Linux")
    processor = max(os.sched_getaffinity(0))
    script = _SPIN.format(processor=processor, parent=os.getpid())
    process = subprocess.Popen([sys.executable, "-I", "-c", script], stdin=subprocess.DEVNULL)
    try:
        yield processor
    finally:
        process.kill()
        process.wait()
