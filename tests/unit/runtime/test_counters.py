from __future__ import annotations

import os

from edgeproof.runtime.counters import Counters, busy_ns, flags, other_load, swapped_pages

MS = 1_000_000


def test_busy_time_leaves_out_idle_and_waiting() -> None:
    ticks = busy_ns("cpu  1 2 4 1000 2000 8 16 32 64 128\ncpu0 9 9 9 9 9 9 9 9 9 9\n")
    assert ticks == (1 + 2 + 4 + 8 + 16 + 32) * 10**9 // os.sysconf("SC_CLK_TCK")
    assert busy_ns("") == 0


def test_load_is_what_others_used() -> None:
    before, after = Counters(0, None, 0), Counters(60 * MS, None, 0)
    assert other_load(before, after, own_ns=40 * MS, wall_ns=40 * MS, processors=2) == 0.25
    assert other_load(before, after, own_ns=90 * MS, wall_ns=40 * MS, processors=2) == 0.0
    assert other_load(before, after, own_ns=0, wall_ns=10 * MS, processors=1) == 1.0


def test_flags() -> None:
    assert flags(Counters(0, 3, 7), Counters(9, 3, 7)) == ()
    assert flags(Counters(0, 3, 7), Counters(9, 4, 7)) == ("throttled",)
    assert flags(Counters(0, None, 7), Counters(9, None, 8)) == ("swapped",)


def test_swapping_counts_both_ways() -> None:
    assert swapped_pages("pgpgin 5\npswpin 2\npswpout 3\npswpin_extra 9\n") == 5
    assert swapped_pages("") == 0
