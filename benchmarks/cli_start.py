"""How long ``edgeproof --help`` takes from fork to exit, beside a bare interpreter; medians of 20 starts.

Goal (issue 2): under 200 ms. It is printed and not asserted: a busy machine is not a defect.
"""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

STARTS = 20


def seconds(command: list[str]) -> float:
    took = []
    for _ in range(STARTS):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        took.append(time.perf_counter() - began)
    return median(took)


if __name__ == "__main__":
    print(f"python -c pass     {seconds([sys.executable, '-c', 'pass']) * 1000:6.0f} ms")
    print(f"edgeproof --help   {seconds([sys.executable, '-m', 'edgeproof', '--help']) * 1000:6.0f} ms")
